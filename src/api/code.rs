//! The one map from what control says to gRPC's codes.

use tonic::{Code, Status};

use crate::control::ControlError;

pub fn refuse(error: ControlError) -> Status {
    let code = match &error {
        ControlError::Ending => Code::Unavailable,
        ControlError::AlreadyMounted { .. } => Code::AlreadyExists,
        ControlError::NotMounted { .. } => Code::NotFound,
        ControlError::BadRequest(_) | ControlError::OverOwnPath { .. } => Code::InvalidArgument,
        ControlError::Mount(_) | ControlError::Unmount(_) | ControlError::Refused(_) | ControlError::Upgrade(_) => {
            Code::FailedPrecondition
        }
        ControlError::Name { .. } | ControlError::Content { .. } | ControlError::File { .. } => {
            Code::FailedPrecondition
        }
        ControlError::Stopped => Code::Aborted,
        ControlError::Deadline { .. } => Code::DeadlineExceeded,
        ControlError::Database(_) | ControlError::Broken => Code::Internal,
    };
    Status::new(code, error.to_string())
}
