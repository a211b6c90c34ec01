//! The parser of the configuration file, for `crate::fuzzing`.

use std::path::Path;

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
    match file::parse(text, Path::new("/etc/weightfs/config.yaml"), &surroundings) {
        Ok(layer) => drop(Settings::from_layers(&[layer], &places).map_err(|error| error.to_string())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
