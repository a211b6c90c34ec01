//! The program `mount.weightfs`. It is a target of the package `weightfs`, so that one build makes both programs; cargo
//! allows no dot in its name, so it gets its real one when it is installed.

fn main() -> std::process::ExitCode {
    mount_helper::helper::main(std::env::args_os().skip(1))
}
