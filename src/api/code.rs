//! The one map from what control says to gRPC's codes.

use tonic::{Code, Status};

use crate::cache::CacheError;
use crate::control::ControlError;
use crate::origin::{OriginError, OriginErrorKind};
use crate::tree::TreeError;

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

/// For those who ask for a model by its name, from another machine: whether it is worth asking again is in the code.
pub fn refuse_by_name(error: ControlError) -> Status {
    let code = match &error {
        ControlError::Name { source: TreeError::Absent, .. } => Code::NotFound,
        ControlError::Name { source: TreeError::Origin(origin), .. } => of_origin(origin),
        ControlError::Content { source: CacheError::Origin(origin), .. } => of_origin(origin),
        ControlError::Content { source: CacheError::NoRoom, .. } => Code::ResourceExhausted,
        ControlError::Content { source: CacheError::Stopping | CacheError::GivenUp, .. } => Code::Unavailable,
        ControlError::Content { .. } => Code::Internal,
        _ => return refuse(error),
    };
    Status::new(code, error.to_string())
}

fn of_origin(error: &OriginError) -> Code {
    match error.kind {
        OriginErrorKind::NoRepo | OriginErrorKind::NoRevision | OriginErrorKind::NoFile => Code::NotFound,
        OriginErrorKind::Denied => Code::PermissionDenied,
        OriginErrorKind::Transient | OriginErrorKind::Offline => Code::Unavailable,
        OriginErrorKind::Nonsense | OriginErrorKind::Permanent => Code::Internal,
    }
}
