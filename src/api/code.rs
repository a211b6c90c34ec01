//! The one map from what control says to gRPC's codes.

use tonic::{Code, Status};

use crate::control::ControlError;

pub fn refuse(error: ControlError) -> Status {
    let code = match &error {
        ControlError::Ending => Code::Unavailable,
        ControlError::AlreadyMounted { .. } => Code::AlreadyExists,
        ControlError::NotMounted { .. } => Code::NotFound,
        ControlError::BadRequest { .. } => Code::InvalidArgument,
        ControlError::Mount { .. } | ControlError::Unmount { .. } => Code::FailedPrecondition,
        ControlError::Deadline { .. } => Code::DeadlineExceeded,
        ControlError::Broken => Code::Internal,
    };
    Status::new(code, error.to_string())
}
