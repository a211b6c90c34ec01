//! The program `weightfs`: parses its arguments and does what they say.

// In place of musl's, which has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    weightfs::cli::run()
}
