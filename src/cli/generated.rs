//! What is made from the command line's own description: `weightfs completions SHELL` and `weightfs man [DIR]`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;

const COMPLETIONS: &str = "\
Examples:
  weightfs completions bash > /usr/share/bash-completion/completions/weightfs
  weightfs completions zsh > ~/.zfunc/_weightfs
  weightfs completions fish > ~/.config/fish/completions/weightfs.fish";

/// Print a script that completes commands and flags in a shell
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub struct CompletionsCommand {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Known,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Print the manual page, or write one for each command into a directory
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weightfs man | man -l -\n  weightfs man /usr/local/share/man/man1")]
pub struct ManCommand {
    /// Where to write weightfs.1, weightfs-mount.1 and so on
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl CompletionsCommand {
    pub fn run(self) -> anyhow::Result<()> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut visible(&Cli::command()), "weightfs", &mut script);
        super::print(&String::from_utf8_lossy(&script))
    }
}

impl ManCommand {
    pub fn run(self) -> anyhow::Result<()> {
        let command = visible(&Cli::command());
        match self.directory {
            Some(directory) => std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(command, &directory))
                .with_context(|| format!("{}: cannot write the pages", directory.display())),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                super::print(&String::from_utf8_lossy(&page))
            }
        }
    }
}

/// The same without the commands that nobody types: a completion would offer them.
fn visible(command: &Command) -> Command {
    let mut copy = Command::new(command.get_name().to_owned()).disable_help_subcommand(true);
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        copy = copy.long_about(about.clone());
    }
    if let Some(help) = command.get_after_help() {
        copy = copy.after_help(help.clone());
    }
    copy = copy.args(command.get_arguments().cloned());
    copy.subcommands(command.get_subcommands().filter(|command| !command.is_hide_set()).map(visible))
}
