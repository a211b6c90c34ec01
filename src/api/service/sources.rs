//! `model_express.p2p`: what engines tell each other of the weights they hold. It is kept and answered, not looked into.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use tonic::{Request, Response, Status};

use super::Ground;
use super::source_id::source_id;
use crate::api::wire::p2p::p2p_service_server::P2pService;
use crate::api::wire::p2p::{
    GetMetadataRequest, GetMetadataResponse, ListSourcesRequest, ListSourcesResponse, PublishMetadataRequest,
    PublishMetadataResponse, SourceIdentity, SourceInstanceRef, SourceStatus, UpdateStatusRequest,
    UpdateStatusResponse, WorkerMetadata,
};
use crate::db::{DbError, SourceRow};

/// A worker that said nothing for so long is told as stale.
const STALE: Duration = Duration::from_secs(90);
/// And after so long it is forgotten.
const GONE: Duration = Duration::from_secs(3600);
/// The longest name that a worker may give itself.
const LONGEST_NAME: usize = 512;

pub struct Sources {
    pub(super) ground: Ground,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn before(now: i64, age: Duration) -> i64 {
    now.saturating_sub(age.as_millis() as i64)
}

fn broken(error: DbError) -> Status {
    Status::internal(error.to_string())
}

/// What it said of itself, unless it said nothing for too long.
fn status_of(row: &SourceRow, now: i64) -> i32 {
    if row.updated_at < before(now, STALE) { SourceStatus::Stale.into() } else { row.status }
}

fn read_status(status: i32) -> Result<SourceStatus, Status> {
    SourceStatus::try_from(status).map_err(|_| Status::invalid_argument(format!("unknown status {status}")))
}

/// Why a row cannot be told: it was written by another version, or is damaged.
fn decoded<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).inspect_err(|cause| tracing::warn!(%cause, "a source on record cannot be read")).ok()
}

/// What lists tell of a worker: all of it may take megabytes.
fn summary(worker: &WorkerMetadata) -> WorkerMetadata {
    let (accelerator, topology) = (worker.accelerator.clone(), worker.topology.clone());
    WorkerMetadata { accelerator, topology, ..WorkerMetadata::default() }
}

/// A source as a list tells it, if the filters let it through.
fn listed(row: SourceRow, filter: &ListSourcesRequest, now: i64) -> Option<SourceInstanceRef> {
    let wanted = filter.status_filter.is_none_or(|status| status == status_of(&row, now))
        && filter.model_name_filter.as_ref().is_none_or(|name| *name == row.model_name)
        && filter.worker_rank_filter.is_none_or(|rank| rank == row.worker_rank)
        && filter.min_updated_at.is_none_or(|least| row.updated_at >= least);
    if !wanted {
        return None;
    }
    let identity: SourceIdentity = decoded(&row.identity)?;
    let worker: WorkerMetadata = decoded(&row.summary)?;
    let extra = |name: &str| identity.extra_parameters.get(name);
    let training_step = extra("training_step").and_then(|text| text.parse().ok());
    if filter.min_training_step.is_some_and(|least| training_step.is_none_or(|step: u64| step < least)) {
        return None;
    }
    Some(SourceInstanceRef {
        mx_source_id: row.source_id,
        worker_id: row.worker_id,
        model_name: row.model_name,
        worker_rank: row.worker_rank,
        accelerator: worker.accelerator,
        updated_at: row.updated_at,
        training_step,
        layout_signature: extra("layout_signature").cloned(),
        topology: worker.topology,
        source_load: row.load.map(|load| load as f32),
    })
}

#[tonic::async_trait]
impl P2pService for Sources {
    async fn publish_metadata(
        &self,
        request: Request<PublishMetadataRequest>,
    ) -> Result<Response<PublishMetadataResponse>, Status> {
        let _answer = self.ground.answers.token();
        let PublishMetadataRequest { identity, worker, worker_id, .. } = request.into_inner();
        let missing = |what| Status::invalid_argument(format!("{what} is missing"));
        let identity = identity.ok_or_else(|| missing("the identity"))?;
        let worker = worker.ok_or_else(|| missing("the worker"))?;
        if worker_id.is_empty() || worker_id.len() > LONGEST_NAME {
            return Err(Status::invalid_argument(format!("a worker_id has 1 to {LONGEST_NAME} bytes")));
        }
        let (mx_source_id, now) = (source_id(&identity), now());
        let row = SourceRow {
            source_id: mx_source_id.clone(),
            worker_id: worker_id.clone(),
            worker_rank: worker.worker_rank,
            model_name: identity.model_name.clone(),
            status: read_status(worker.status)?.into(),
            load: None,
            updated_at: now,
            identity: identity.encode_to_vec(),
            summary: summary(&worker).encode_to_vec(),
        };
        let recorded = self.ground.shelf.database().put_source(row, worker.encode_to_vec(), before(now, GONE));
        recorded.await.map_err(broken)?;
        let message = "recorded".to_owned();
        Ok(Response::new(PublishMetadataResponse { success: true, message, mx_source_id, worker_id }))
    }

    async fn list_sources(
        &self,
        request: Request<ListSourcesRequest>,
    ) -> Result<Response<ListSourcesResponse>, Status> {
        let _answer = self.ground.answers.token();
        let (filter, now) = (request.into_inner(), now());
        filter.status_filter.map(read_status).transpose()?;
        let id = filter.identity.as_ref().map(source_id);
        let database = self.ground.shelf.database().clone();
        let rows = move || database.sources(id.as_deref(), before(now, GONE));
        let rows = tokio::task::spawn_blocking(rows).await.map_err(|_| Status::internal("it broke off"))?;
        let instances = rows.map_err(broken)?.into_iter().filter_map(|row| listed(row, &filter, now));
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        Ok(Response::new(ListSourcesResponse { instances: instances.take(limit).collect() }))
    }

    async fn get_metadata(
        &self,
        request: Request<GetMetadataRequest>,
    ) -> Result<Response<GetMetadataResponse>, Status> {
        let _answer = self.ground.answers.token();
        let GetMetadataRequest { mx_source_id, worker_id } = request.into_inner();
        let now = now();
        let row = self.ground.shelf.database().source(&mx_source_id, &worker_id, before(now, GONE)).map_err(broken)?;
        let known = row.and_then(|(row, worker)| {
            let mut worker: WorkerMetadata = decoded(&worker)?;
            (worker.status, worker.updated_at) = (status_of(&row, now), row.updated_at);
            Some((worker, decoded::<SourceIdentity>(&row.identity)?))
        });
        let found = known.is_some();
        let (worker, identity) = known.unzip();
        Ok(Response::new(GetMetadataResponse { found, worker, mx_source_id, worker_id, identity }))
    }

    async fn update_status(
        &self,
        request: Request<UpdateStatusRequest>,
    ) -> Result<Response<UpdateStatusResponse>, Status> {
        let _answer = self.ground.answers.token();
        let UpdateStatusRequest { mx_source_id, status, worker_id, source_load, .. } = request.into_inner();
        let status = read_status(status)?.into();
        let (database, load) = (self.ground.shelf.database(), source_load.map(f64::from));
        let success = database.update_source(&mx_source_id, &worker_id, status, load, now()).await.map_err(broken)?;
        let message = match success {
            true => "recorded".to_owned(),
            false => format!("no worker `{worker_id}` of source {mx_source_id} is known; publish its metadata first"),
        };
        Ok(Response::new(UpdateStatusResponse { success, message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(updated_at: i64) -> SourceRow {
        let extra = [("training_step".to_owned(), "7".to_owned())].into();
        let identity = SourceIdentity { extra_parameters: extra, ..SourceIdentity::default() };
        SourceRow {
            source_id: "a".to_owned(),
            worker_id: "w".to_owned(),
            worker_rank: 3,
            model_name: "acme/tiny".to_owned(),
            status: SourceStatus::Ready.into(),
            load: Some(0.5),
            updated_at,
            identity: identity.encode_to_vec(),
            summary: WorkerMetadata { accelerator: "cuda".to_owned(), ..WorkerMetadata::default() }.encode_to_vec(),
        }
    }

    #[test]
    fn a_worker_that_is_silent_for_90_seconds_is_stale() {
        assert_eq!(status_of(&row(10_000), 100_000), SourceStatus::Ready as i32);
        assert_eq!(status_of(&row(9_999), 100_000), SourceStatus::Stale as i32);
    }

    #[test]
    fn every_filter_lets_through_only_what_it_names() {
        let passes = |filter: ListSourcesRequest| listed(row(10_000), &filter, 20_000).is_some();
        assert!(passes(ListSourcesRequest::default()));
        let ready = Some(SourceStatus::Ready as i32);
        assert!(passes(ListSourcesRequest { status_filter: ready, ..Default::default() }));
        assert!(!passes(ListSourcesRequest { status_filter: Some(3), ..Default::default() }));
        assert!(!passes(ListSourcesRequest { model_name_filter: Some("other".to_owned()), ..Default::default() }));
        assert!(!passes(ListSourcesRequest { worker_rank_filter: Some(2), ..Default::default() }));
        assert!(!passes(ListSourcesRequest { min_updated_at: Some(10_001), ..Default::default() }));
        assert!(passes(ListSourcesRequest { min_training_step: Some(7), ..Default::default() }));
        assert!(!passes(ListSourcesRequest { min_training_step: Some(8), ..Default::default() }));
        let told = listed(row(10_000), &ListSourcesRequest::default(), 20_000).unwrap();
        assert_eq!((told.accelerator.as_str(), told.training_step, told.source_load), ("cuda", Some(7), Some(0.5)));
    }
}
