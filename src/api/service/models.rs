//! `model_express.model`: requests read and checked, answers written.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::weights::is_weight;
use super::{Ground, ensure, stream};
use crate::api::code::{refuse, refuse_by_name};
use crate::api::wire::model::model_service_server::ModelService;
use crate::api::wire::model::{
    DeleteModelRequest, DeleteModelResponse, ModelDownloadRequest, ModelFileInfo, ModelFileList, ModelFileSelector,
    ModelFilesRequest, ModelProvider,
};
use crate::control::Removal;
use crate::control::job::ModelName;
use crate::types::{RemoteFile, RepoId, RepoPath, RepoType, Revision, Snapshot};

pub struct Models {
    pub(super) ground: Ground,
}

/// A request for files, as far as it can be understood without asking anybody.
struct Wish {
    model: ModelName,
    /// Exact paths; `None` for all.
    selected: Option<Vec<String>>,
    ignore_weights: bool,
}

impl Models {
    fn wish(&self, request: ModelFilesRequest) -> Result<Wish, Status> {
        let ModelFilesRequest { model_name, provider, file_selector, ignore_weights, revision, .. } = request;
        let model = self.model(&model_name, provider, revision.as_deref())?;
        let selected = file_selector.map(|ModelFileSelector { paths }| paths);
        Ok(Wish { model, selected, ignore_weights })
    }

    fn model(&self, name: &str, provider: i32, revision: Option<&str>) -> Result<ModelName, Status> {
        let repo = repo(name, provider)?;
        Ok(self.ground.shelf.model(repo, read_revision(revision)?))
    }
}

fn repo(name: &str, provider: i32) -> Result<RepoId, Status> {
    match ModelProvider::try_from(provider) {
        Ok(ModelProvider::HuggingFace) => {}
        Ok(other) => {
            let text = format!("provider {} is not served here; this server has HUGGING_FACE", other.as_str_name());
            return Err(Status::invalid_argument(text));
        }
        Err(_) => {
            return Err(Status::invalid_argument(format!("unknown provider {provider}; this server has HUGGING_FACE")));
        }
    }
    RepoId::new(RepoType::Model, name).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Clients also write commits in capitals.
fn read_revision(text: Option<&str>) -> Result<Revision, Status> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Revision::main()) };
    let is_commit = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = if is_commit { text.to_ascii_lowercase() } else { text.to_owned() };
    Revision::new(&text).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The files that are meant, in the order in which they are sent.
fn choose(snapshot: &Snapshot, wish: &Wish) -> Result<Vec<RemoteFile>, Status> {
    let chosen = |path: &RepoPath| !(wish.ignore_weights && is_weight(path.as_str()));
    let Some(selected) = &wish.selected else {
        let paths = snapshot.files().map(|(path, _)| path).filter(|path| chosen(path));
        return Ok(paths.filter_map(|path| snapshot.remote_file(path)).collect());
    };
    if selected.is_empty() {
        return Err(Status::invalid_argument("the file selector names no file; leave it out to get all of them"));
    }
    let mut files: Vec<RemoteFile> = Vec::with_capacity(selected.len());
    let mut seen = std::collections::HashSet::new();
    for text in selected {
        let path = RepoPath::new(text)
            .map_err(|problem| Status::invalid_argument(format!("`{text}` is no path of a file: {problem}")))?;
        let absent =
            || Status::not_found(format!("{}: it has no file `{text}` at {}", wish.model.repo, snapshot.commit));
        let file = snapshot.remote_file(&path).ok_or_else(absent)?;
        if chosen(&path) && seen.insert(path) {
            files.push(file);
        }
    }
    Ok(files)
}

fn none_left(wish: &Wish, snapshot: &Snapshot) -> Status {
    Status::not_found(format!("{}: none of its {} files is meant", wish.model, snapshot.len()))
}

#[tonic::async_trait]
impl ModelService for Models {
    type EnsureModelDownloadedStream = ensure::Updates;

    async fn ensure_model_downloaded(
        &self,
        request: Request<ModelDownloadRequest>,
    ) -> Result<Response<Self::EnsureModelDownloadedStream>, Status> {
        let ModelDownloadRequest { model_name, provider, ignore_weights, revision } = request.into_inner();
        let model = self.model(&model_name, provider, revision.as_deref())?;
        let answer = self.ground.answers.token();
        let seat = self.ground.node.begin().map_err(refuse)?;
        let found = match self.ground.shelf.newest(&model).await {
            Ok(snapshot) => Ok(snapshot),
            // What was asked for by its revision must be that or nothing: known before the stream begins.
            Err(error) if revision.is_some_and(|text| !text.is_empty()) => return Err(refuse_by_name(error)),
            Err(error) => Err(error),
        };
        let wish = ensure::Wish { model_name, model, ignore_weights };
        Ok(Response::new(ensure::updates(self.ground.clone(), wish, found, seat, answer)))
    }

    type StreamModelFilesStream = stream::Chunks;

    async fn stream_model_files(
        &self,
        request: Request<ModelFilesRequest>,
    ) -> Result<Response<Self::StreamModelFilesStream>, Status> {
        let request = request.into_inner();
        let chunk_size = stream::chunk_size(request.chunk_size);
        let answer = self.ground.answers.token();
        let seat = self.ground.node.begin().map_err(refuse)?;
        let wish = self.wish(request)?;
        let snapshot = self.ground.shelf.known(&wish.model).await.map_err(refuse_by_name)?;
        let files = choose(&snapshot, &wish)?;
        let Some(first) = files.first() else { return Err(none_left(&wish, &snapshot)) };
        self.ground.shelf.authorize(&wish.model, first).await.map_err(refuse_by_name)?;
        Ok(Response::new(stream::chunks(self.ground.clone(), wish.model, files, chunk_size, (seat, answer))))
    }

    async fn list_model_files(&self, request: Request<ModelFilesRequest>) -> Result<Response<ModelFileList>, Status> {
        let request = request.into_inner();
        let _answer = self.ground.answers.token();
        let model_name = request.model_name.clone();
        let wish = self.wish(request)?;
        let snapshot: Arc<Snapshot> = self.ground.shelf.known(&wish.model).await.map_err(refuse_by_name)?;
        let files = choose(&snapshot, &wish)?;
        let total_size = files.iter().map(|file| file.blob.size).sum();
        let info = |file: RemoteFile| ModelFileInfo { relative_path: file.path.to_string(), size: file.blob.size };
        Ok(Response::new(ModelFileList { model_name, files: files.into_iter().map(info).collect(), total_size }))
    }

    async fn delete_model(
        &self,
        request: Request<DeleteModelRequest>,
    ) -> Result<Response<DeleteModelResponse>, Status> {
        let DeleteModelRequest { model_name, provider } = request.into_inner();
        let repo = repo(&model_name, provider)?;
        let _answer = self.ground.answers.token();
        let _seat = self.ground.node.begin().map_err(refuse)?;
        let removal = self.ground.shelf.remove(&repo).await.map_err(refuse_by_name)?;
        let message = match removal {
            Removal::Absent => format!("{repo}: nothing of it was here"),
            Removal::Done(done) => {
                let shared = match done.shared_bytes + done.pinned_bytes {
                    0 => String::new(),
                    bytes => format!("; {bytes} bytes stay, which other models share or which are pinned"),
                };
                format!("{repo}: {} files removed, {} bytes freed{shared}", done.files, done.freed_bytes)
            }
        };
        Ok(Response::new(DeleteModelResponse { success: true, message: Some(message) }))
    }
}
