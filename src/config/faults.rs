//! Everything that is wrong with what was given, so that it can be mended in one go.

use super::error::ConfigError;

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<ConfigError>);

impl Faults {
    pub(super) fn add(&mut self, fault: ConfigError) {
        self.0.push(fault);
    }

    /// What there is, if nothing is wrong with it.
    pub(super) fn good<T>(&mut self, outcome: Result<T, ConfigError>) -> Option<T> {
        outcome.map_err(|fault| self.add(fault)).ok()
    }

    pub(super) fn into_result(mut self) -> Result<(), ConfigError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => Err(ConfigError::Several(self.0)),
        }
    }
}
