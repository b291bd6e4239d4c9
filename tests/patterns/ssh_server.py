"""An SSH server for one test, on the loopback interface: each session runs its command with `sh -c`, as the user of this process.
It gives files, and forwards ports.

ssh_server.py HOST_KEY AUTHORIZED_KEYS    prints the port once it listens
"""

import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


async def serve(process: asyncssh.SSHServerProcess) -> None:
    child = await asyncio.create_subprocess_shell(
        process.command or "true",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    status = await child.wait()
    await process.stdout.drain()
    process.exit(status)


async def main() -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[sys.argv[1]], authorized_client_keys=sys.argv[2], server_factory=Server,
        process_factory=serve, sftp_factory=True, allow_scp=True, encoding=None
    )
    print(server.get_port(), flush=True)
    await asyncio.Future()


asyncio.run(main())
