"""An SSH server for one test, on the loopback interface: each session runs its command with `sh -c`, as the user of this process.

ssh_server.py HOST_KEY AUTHORIZED_KEYS    prints the port once it listens
"""

import asyncio
import sys

import asyncssh


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
        "127.0.0.1", 0, server_host_keys=[sys.argv[1]], authorized_client_keys=sys.argv[2], process_factory=serve, encoding=None
    )
    print(server.get_port(), flush=True)
    await asyncio.Future()


asyncio.run(main())
