//! The origins that the configuration names, put together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::{ChainPlace, PathStyleWish, Settings};
use crate::metrics::Metrics;
use crate::origin::dir::{DirectoryOrigin, Role};
use crate::origin::http::Timeouts;
use crate::origin::s3::{Access, Account, PathStyle, S3Mirror, S3Origin, S3Settings};
use crate::origin::{Link, Mirror, Routes, Source};
use crate::types::{RepoId, SourcePlace};

use super::running::NAMES_GIVE_UP;

/// Everything that models may come from.
pub(super) fn routes(settings: &Settings, hub: Arc<dyn Source>, metrics: &Arc<Metrics>) -> Routes {
    let places = Places { account: Arc::new(Account::new(s3_settings(settings))), metrics: metrics.clone() };
    let mut placed: HashMap<RepoId, Arc<dyn Source>> = HashMap::new();
    for (repo, place) in &settings.origin_models.0 {
        placed.insert(repo.clone(), places.model(place));
    }
    for (repo, path) in &settings.origin_directories.0 {
        placed.insert(repo.clone(), directory(path, Role::Model));
    }
    for prefix in &settings.origin_buckets.0 {
        placed.insert(prefix.repo(), places.model(&SourcePlace::Bucket(prefix.clone())));
    }
    let link = |place: &ChainPlace| match place {
        ChainPlace::Hub => Link::Hub,
        ChainPlace::Mirror(place) => Link::Mirror(Mirror::new(places.mirror(place), place.to_string())),
    };
    Routes::new(hub, settings.origin_chain.0.iter().map(link).collect(), placed)
}

struct Places {
    /// All buckets share it. Nothing is asked before the first of them is.
    account: Arc<Account>,
    metrics: Arc<Metrics>,
}

impl Places {
    fn model(&self, place: &SourcePlace) -> Arc<dyn Source> {
        match place {
            SourcePlace::Directory(path) => directory(path, Role::Model),
            SourcePlace::Bucket(prefix) => Arc::new(S3Origin::new(self.account.clone(), prefix, self.metrics.clone())),
        }
    }

    fn mirror(&self, place: &SourcePlace) -> Arc<dyn Source> {
        match place {
            SourcePlace::Directory(path) => directory(path, Role::Mirror),
            SourcePlace::Bucket(prefix) => Arc::new(S3Mirror::new(self.account.clone(), prefix, self.metrics.clone())),
        }
    }
}

fn directory(path: &Path, role: Role) -> Arc<dyn Source> {
    Arc::new(DirectoryOrigin::new(path, role))
}

fn s3_settings(settings: &Settings) -> S3Settings {
    S3Settings {
        endpoint_url: settings.origin_s3_endpoint_url.as_ref().map(|url| url.as_str().to_owned()),
        region: settings.origin_s3_region.as_ref().map(|name| name.as_str().to_owned()),
        profile: settings.origin_s3_profile.as_ref().map(|name| name.as_str().to_owned()),
        path_style: match settings.origin_s3_path_style {
            PathStyleWish::Auto => PathStyle::Auto,
            PathStyleWish::Always => PathStyle::Always,
            PathStyleWish::Never => PathStyle::Never,
        },
        access: if settings.origin_s3_anonymous { Access::Anonymous } else { Access::Environment },
        object_details: settings.origin_s3_object_details,
        max_objects: settings.origin_s3_max_objects.get() as usize,
        timeouts: Timeouts::default(),
        give_up: NAMES_GIVE_UP.min(settings.origin_give_up_seconds.duration()),
    }
}
