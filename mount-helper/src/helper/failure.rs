//! Why a mount did not come to be, in the words and the numbers that mount(8) has for it.

use std::process::ExitCode;

/// The exit codes of mount(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A wrong call, a wrong setting, or no permission.
    Usage = 1,
    /// No memory, no process, no device.
    System = 2,
    /// A mistake of this program.
    Internal = 4,
    /// The mount failed.
    Mount = 32,
}

#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub text: String,
}

impl Failure {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Code::Usage, text)
    }

    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Code::System, text)
    }

    pub fn mount(text: impl Into<String>) -> Self {
        Self::new(Code::Mount, text)
    }

    /// Says it on standard error, a line a cause.
    pub fn report(&self) -> ExitCode {
        let mut lines = self.text.lines();
        eprintln!("mount.weightfs: {}", lines.next().unwrap_or("it failed"));
        for line in lines {
            eprintln!("  {line}");
        }
        ExitCode::from(self.code as u8)
    }
}
