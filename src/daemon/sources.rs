//! The origins that the configuration names, put together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

use crate::config::{ChainPlace, Settings};
use crate::origin::dir::{DirectoryOrigin, Role};
use crate::origin::{Link, Mirror, Routes, Source};
use crate::types::{RepoId, SourcePlace};

/// Everything that models may come from.
pub(super) fn routes(settings: &Settings, hub: Arc<dyn Source>) -> anyhow::Result<Routes> {
    let mut placed: HashMap<RepoId, Arc<dyn Source>> = HashMap::new();
    for (repo, place) in &settings.origin_models.0 {
        placed.insert(repo.clone(), at(place, Role::Model)?);
    }
    for (repo, path) in &settings.origin_directories.0 {
        placed.insert(repo.clone(), directory(path, Role::Model));
    }
    for prefix in &settings.origin_buckets.0 {
        placed.insert(prefix.repo(), at(&SourcePlace::Bucket(prefix.clone()), Role::Model)?);
    }
    let link = |place: &ChainPlace| match place {
        ChainPlace::Hub => Ok(Link::Hub),
        ChainPlace::Mirror(place) => Ok(Link::Mirror(Mirror::new(at(place, Role::Mirror)?, place.to_string()))),
    };
    let chain = settings.origin_chain.0.iter().map(link).collect::<anyhow::Result<_>>()?;
    Ok(Routes::new(hub, chain, placed))
}

fn at(place: &SourcePlace, role: Role) -> anyhow::Result<Arc<dyn Source>> {
    match place {
        SourcePlace::Directory(path) => Ok(directory(path, role)),
        SourcePlace::Bucket(_) => bail!("{place}: S3 cannot be read yet"),
    }
}

fn directory(path: &Path, role: Role) -> Arc<dyn Source> {
    Arc::new(DirectoryOrigin::new(path, role))
}
