//! `completions`: a script for a shell, which completes verbs and options; in bash also the names of sessions.
//!
//! Made from the command line's own description, so that it knows what this version knows. What it asks a host at the moment of
//! completing never starts one.

use super::{Done, args::described, context::Context};
use crate::model::Exit;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print a completion script: bash, zsh, fish, elvish, powershell
#[derive(Debug, Args)]
#[command(after_help = "bash: source <(termalive completions bash), in ~/.bashrc to have it always
zsh:  termalive completions zsh > a folder of $fpath/_termalive
fish: termalive completions fish > ~/.config/fish/completions/termalive.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, context: &mut Context) -> Done {
    let mut command = described();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "termalive", &mut script);
    context.out.write(&script)?;
    if args.shell == Shell::Bash {
        context.out.write(names(&command).as_bytes())?;
    }
    Ok(Exit::Done)
}

/// Puts the names of sessions where the generated script has a placeholder.
fn names(command: &Command) -> String {
    let taking = |id: &'static str| {
        let takes = |verb: &&Command| verb.get_positionals().any(|arg| arg.get_id() == id && !arg.is_hide_set());
        let verbs = command.get_subcommands().filter(takes).filter(|verb| !CREATING.contains(&verb.get_name()));
        verbs.flat_map(|verb| verb.get_name_and_visible_aliases()).collect::<Vec<_>>().join("|")
    };
    NAMES.replace("ONE", &taking("name")).replace("MANY", &taking("names"))
}

/// Their name is a new one.
const CREATING: [&str; 2] = ["new", "run"];

const NAMES: &str = r#"
_termalive_names() {
    _termalive "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    [[ $cur == -* || $before == -* ]] && return
    case "${COMP_WORDS[1]}" in
        ONE) ((COMP_CWORD == 2)) || return ;;
        MANY) ;;
        *) return ;;
    esac
    COMPREPLY=($(compgen -W "$(TERMALIVE_NO_AUTOSTART=1 "${COMP_WORDS[0]}" list --all --quiet 2>/dev/null)" -- "$cur"))
}
complete -o nosort -o bashdefault -o default -F _termalive_names termalive
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_on_sessions_are_known() {
        let script = names(&described());
        let line = |ends: &str| script.lines().find(|line| line.ends_with(ends)).unwrap_or("").trim();
        assert!(line("return ;;").starts_with("show|attach|a|send|"), "{script}");
        assert!(line(") ;;").starts_with("wait|kill|restart|rm"), "{script}");
        assert!(!script.contains("new|") && !script.contains("stop"), "{script}");
    }
}
