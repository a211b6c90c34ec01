//! The store's client for one range: what the crate starts for the range ends with it.
//!
//! The crate fetches in tasks of its own and lets them run on when the range is given up.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use xet_client::ClientError;
use xet_client::cas_client::adaptive_concurrency::ConnectionPermit;
use xet_client::cas_client::{Client, ProgressCallback, RemoteClient, ShardUploadProgressCallback, URLProvider};
use xet_client::cas_types::{
    BatchQueryReconstructionResponse, FileChunkHashesResponse, FileRange, QueryReconstructionResponseV2,
};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::xorb_object::SerializedXorbObject;

type Result<T> = std::result::Result<T, ClientError>;

pub(super) struct RangeClient {
    pub(super) store: Arc<RemoteClient>,
    pub(super) ended: CancellationToken,
}

impl RangeClient {
    async fn unless_ended<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = self.ended.run_until_cancelled(work).await;
        result.unwrap_or_else(|| Err(ClientError::Other("the range is not wanted any more".to_owned())))
    }
}

/// Nothing here writes to a store.
fn read_only<T>() -> Result<T> {
    Err(ClientError::InvalidArguments)
}

#[async_trait]
impl Client for RangeClient {
    async fn get_reconstruction(
        &self,
        file: &MerkleHash,
        range: Option<FileRange>,
    ) -> Result<Option<QueryReconstructionResponseV2>> {
        self.unless_ended(self.store.get_reconstruction(file, range)).await
    }

    async fn acquire_download_permit(&self) -> Result<ConnectionPermit> {
        self.unless_ended(self.store.acquire_download_permit()).await
    }

    async fn get_file_term_data(
        &self,
        url: Box<dyn URLProvider>,
        permit: ConnectionPermit,
        progress: Option<ProgressCallback>,
        size: Option<usize>,
    ) -> Result<(Bytes, Vec<u32>)> {
        self.unless_ended(self.store.get_file_term_data(url, permit, progress, size)).await
    }

    async fn get_file_reconstruction_info(
        &self,
        file: &MerkleHash,
    ) -> Result<Option<(MDBFileInfo, Option<MerkleHash>)>> {
        self.unless_ended(self.store.get_file_reconstruction_info(file)).await
    }

    async fn batch_get_reconstruction(&self, files: &[MerkleHash]) -> Result<BatchQueryReconstructionResponse> {
        self.unless_ended(self.store.batch_get_reconstruction(files)).await
    }

    async fn get_file_chunk_hashes(
        &self,
        file: &MerkleHash,
        ranges: Vec<FileRange>,
    ) -> Result<FileChunkHashesResponse> {
        self.unless_ended(self.store.get_file_chunk_hashes(file, ranges)).await
    }

    async fn query_for_global_dedup_shard(&self, _: &str, _: &MerkleHash) -> Result<Option<Bytes>> {
        read_only()
    }

    async fn acquire_upload_permit(&self) -> Result<ConnectionPermit> {
        read_only()
    }

    async fn upload_shard(
        &self,
        _: Bytes,
        _: ConnectionPermit,
        _: Option<ShardUploadProgressCallback>,
    ) -> Result<Option<MerkleHash>> {
        read_only()
    }

    async fn upload_xorb(
        &self,
        _: &str,
        _: SerializedXorbObject,
        _: Option<ProgressCallback>,
        _: ConnectionPermit,
    ) -> Result<u64> {
        read_only()
    }
}
