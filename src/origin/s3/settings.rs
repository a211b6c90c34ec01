//! What the configuration says of S3. Credentials are not here: the SDK finds them as every other AWS program does.

use std::time::Duration;

use crate::origin::http::Timeouts;

#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Another store than AWS.
    pub endpoint_url: Option<String>,
    pub region: Option<String>,
    /// The section of the AWS configuration files.
    pub profile: Option<String>,
    pub path_style: PathStyle,
    pub access: Access,
    /// Whether the store is asked about each object for its version and checksum.
    pub object_details: bool,
    /// More below one prefix is no model.
    pub max_objects: usize,
    pub timeouts: Timeouts,
    /// How long a question about names is asked again and again.
    pub give_up: Duration,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            region: None,
            profile: None,
            path_style: PathStyle::Auto,
            access: Access::Environment,
            object_details: true,
            max_objects: 10_000,
            timeouts: Timeouts::default(),
            give_up: Duration::from_secs(60),
        }
    }
}

/// Whether the bucket stands in the path or in the host's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// In the path where an endpoint is named, else in the host's name.
    Auto,
    Always,
    Never,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whom the AWS variables, profiles, web identities and metadata services name.
    Environment,
    /// Nobody: requests are not signed.
    Anonymous,
    /// A made-up key, so that no test looks at the machine's own.
    #[cfg(test)]
    Test(&'static str),
}
