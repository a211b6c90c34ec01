//! The program `mount.weightfs`: what mount(8) runs for `mount -t weightfs`. The only one that needs privilege.
//!
//! As root it mounts, leaves a holder in the background that starts the daemon as its user, and ends when the mount can be
//! read. Never install it setuid: it serves root alone, and an ordinary user needs none of it.

mod account;
mod call;
mod failure;
mod hold;
mod options;
mod place;
mod program;
mod run;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use call::Call;
use failure::Failure;

const HELP: &str = include_str!("helper/help.txt");

/// Does what the arguments say, the program's name not among them.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == hold::WORD).is_some() {
        return hold::run(arguments);
    }
    let done = match call::parse(arguments) {
        Ok(Call::Help) => {
            print(HELP);
            Ok(())
        }
        Ok(Call::Version) => {
            print(concat!("mount.weightfs ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(())
        }
        Ok(Call::Mount(request)) => run::mount(&request),
        Err(wrong) => Err(Failure::usage(wrong)),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn print(text: &str) {
    // Whoever does not read it does not want it.
    let _ = io::stdout().write_all(text.as_bytes());
}
