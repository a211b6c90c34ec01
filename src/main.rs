//! The program `weightfs`: parses its arguments and does what they say.

fn main() -> std::process::ExitCode {
    weightfs::cli::run()
}
