//! The parser of the configuration file, for `crate::fuzzing`.

use std::path::Path;

use super::faults::Faults;
use super::{Places, Settings, Surroundings, file};

pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let surroundings = Surroundings {
        variables: Default::default(),
        working_directory: "/".into(),
        home: Some("/home/a".into()),
        uid: 1000,
    };
    let places = Places::find(&surroundings).expect("a home is enough");
    let mut faults = Faults::default();
    let layer = file::parse(text, Path::new("/etc/weightfs/config.yaml"), &surroundings, &mut faults);
    // What is good of it is good, whatever else is wrong.
    Settings::from_layers(&[layer], &places).expect("a layer holds what was checked");
    if let Err(error) = faults.into_result() {
        assert!(!error.to_string().is_empty() && !error.all().is_empty());
    }
}
