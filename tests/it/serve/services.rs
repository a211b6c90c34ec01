//! The other services on the same port, and who may ask.

use std::fs;

use futures::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weightfs::api::wire::api::ApiRequest;
use weightfs::api::wire::api::api_service_client::ApiServiceClient;
use weightfs::api::wire::health::HealthRequest;
use weightfs::api::wire::health::health_service_client::HealthServiceClient;
use weightfs::api::wire::p2p::p2p_service_client::P2pServiceClient;
use weightfs::api::wire::p2p::{
    GetMetadataRequest, ListSourcesRequest, PublishMetadataRequest, SourceIdentity, SourceStatus, UpdateStatusRequest,
    WorkerMetadata, worker_metadata::BackendMetadata,
};

use super::server::{MODEL, Server, files_of, hub};

const SERVICES: [&str; 4] = [
    "model_express.health.HealthService",
    "model_express.api.ApiService",
    "model_express.model.ModelService",
    "model_express.p2p.P2pService",
];

#[test]
fn health_is_told_of_all_and_of_each_service() {
    let server = Server::start(&hub(100).0);
    server.runtime.block_on(async {
        let mut own = HealthServiceClient::new(server.channel().await);
        let told = own.get_health(HealthRequest {}).await.unwrap().into_inner();
        assert_eq!((told.status.as_str(), told.version.as_str()), ("ok", env!("CARGO_PKG_VERSION")));
        assert!(told.uptime < 600);
        let mut standard = HealthClient::new(server.channel().await);
        for service in SERVICES.into_iter().chain([""]) {
            let request = HealthCheckRequest { service: service.to_owned() };
            let told = standard.check(request).await.unwrap().into_inner();
            assert_eq!(told.status(), ServingStatus::Serving, "{service}");
        }
        let request = HealthCheckRequest { service: "no.such.Service".to_owned() };
        assert_eq!(standard.check(request).await.unwrap_err().code(), Code::NotFound);
    });
}

#[test]
fn an_action_answers_json_and_an_unknown_one_says_so() {
    let server = Server::start(&hub(100).0);
    server.runtime.block_on(async {
        let mut client = ApiServiceClient::new(server.channel().await);
        let mut send = async |action: &str, payload: Option<&[u8]>| {
            let payload = payload.map(<[u8]>::to_vec);
            let request = ApiRequest { id: "1".to_owned(), action: action.to_owned(), payload };
            client.send_request(request).await.unwrap().into_inner()
        };
        let pong = send("ping", None).await;
        assert!(pong.success && pong.error.is_none());
        assert_eq!(pong.data.as_deref(), Some(&br#"{"message":"pong"}"#[..]));
        assert!(send("ping", Some(b"{}")).await.success);
        let broken = send("ping", Some(b"{")).await;
        assert!(!broken.success && broken.error.unwrap().contains("no JSON"));
        let unknown = send("dance", None).await;
        assert!(!unknown.success && unknown.data.is_none() && unknown.error.unwrap().contains("`dance`"));
    });
}

async fn reflected(channel: Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let symbols = SERVICES.map(|name| ask(MessageRequest::FileContainingSymbol(name.to_owned())));
    let requests = [ask(MessageRequest::ListServices(String::new()))].into_iter().chain(symbols);
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(futures::stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let mut services = Vec::new();
    let mut files = 0;
    while let Some(answer) = answers.next().await {
        match answer.unwrap().message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                services = list.service.into_iter().map(|service| service.name).collect();
            }
            MessageResponse::FileDescriptorResponse(file) => files += file.file_descriptor_proto.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(files, SERVICES.len());
    services
}

#[test]
fn reflection_tells_every_service() {
    let server = Server::start(&hub(100).0);
    server.runtime.block_on(async {
        let services = reflected(server.channel().await).await;
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(services.iter().any(|name| name == service), "{services:?}");
        }
        use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1alpha::{ServerReflectionRequest, server_reflection_request::MessageRequest};
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut older = ServerReflectionClient::new(server.channel().await);
        let mut answers = older.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
        assert!(answers.next().await.unwrap().unwrap().message_response.is_some());
    });
}

#[test]
fn without_the_token_nobody_is_answered_but_a_prober() {
    let (hub, ..) = hub(100);
    let machine = crate::machine::Machine::at(hub.endpoint());
    let file = machine.path("token");
    fs::write(&file, "open-sesame\n").unwrap();
    let server = Server::start_on(machine, &[("WEIGHTFS_SERVER_TOKEN_FILE", file.to_str().unwrap())]);
    server.runtime.block_on(async {
        let mut models = server.models().await;
        assert_eq!(models.list_model_files(files_of(MODEL)).await.unwrap_err().code(), Code::Unauthenticated);
        let mut sources = P2pServiceClient::new(server.channel().await);
        assert_eq!(
            sources.list_sources(ListSourcesRequest::default()).await.unwrap_err().code(),
            Code::Unauthenticated
        );
        for (word, code) in [("Bearer wrong", Some(Code::Unauthenticated)), ("Bearer open-sesame", None)] {
            let mut request = Request::new(files_of(MODEL));
            request.metadata_mut().insert("authorization", word.parse().unwrap());
            assert_eq!(models.list_model_files(request).await.err().map(|status| status.code()), code);
        }
        let mut standard = HealthClient::new(server.channel().await);
        assert!(standard.check(HealthCheckRequest::default()).await.is_ok());
    });
    let output = server.end();
    let log = format!("{}{}", crate::machine::error(&output), String::from_utf8_lossy(&output.stdout));
    assert!(!log.contains("open-sesame"), "no log shows the token");
}

fn published(worker_id: &str, rank: u32) -> PublishMetadataRequest {
    PublishMetadataRequest {
        identity: Some(SourceIdentity {
            mx_version: "0.7.0".to_owned(),
            model_name: "Acme/Tiny".to_owned(),
            ..SourceIdentity::default()
        }),
        worker: Some(WorkerMetadata {
            worker_rank: rank,
            backend_metadata: Some(BackendMetadata::NixlMetadata(vec![7; 5 << 20])),
            status: SourceStatus::Initializing.into(),
            accelerator: "cuda".to_owned(),
            ..WorkerMetadata::default()
        }),
        worker_id: worker_id.to_owned(),
        ..PublishMetadataRequest::default()
    }
}

#[test]
fn sources_are_told_as_they_were_published_also_by_the_next_server() {
    let (hub, ..) = hub(100);
    let mut server = Server::start(&hub);
    let id = server.runtime.block_on(async {
        let mut client = P2pServiceClient::new(server.channel().await).max_decoding_message_size(100 << 20);
        let first = client.publish_metadata(published("w0", 0)).await.unwrap().into_inner();
        assert!(first.success && first.mx_source_id.len() == 16 && first.worker_id == "w0");
        let id = client.publish_metadata(published("w1", 1)).await.unwrap().into_inner().mx_source_id;
        assert_eq!(id, first.mx_source_id, "who offers the same has the same id");
        let nameless = client.publish_metadata(published("", 0)).await.unwrap_err();
        assert_eq!(nameless.code(), Code::InvalidArgument);

        let mut list = async |request| client.list_sources(request).await.unwrap().into_inner().instances;
        assert_eq!(list(ListSourcesRequest::default()).await.len(), 2);
        let ready = ListSourcesRequest { status_filter: Some(SourceStatus::Ready.into()), ..Default::default() };
        assert_eq!(list(ready.clone()).await.len(), 0);
        assert_eq!(list(ListSourcesRequest { limit: Some(1), ..Default::default() }).await.len(), 1);
        let other = SourceIdentity { dtype: "fp8".to_owned(), ..published("w0", 0).identity.unwrap() };
        assert_eq!(list(ListSourcesRequest { identity: Some(other), ..Default::default() }).await.len(), 0);

        let (mx_source_id, worker_id) = (id.clone(), "w1".to_owned());
        let status = SourceStatus::Ready.into();
        let update = UpdateStatusRequest { mx_source_id, worker_id, status, worker_rank: 1, source_load: Some(0.25) };
        assert!(client.update_status(update.clone()).await.unwrap().into_inner().success);
        let nobody = UpdateStatusRequest { worker_id: "w9".to_owned(), ..update };
        assert!(!client.update_status(nobody).await.unwrap().into_inner().success);
        let ready = client.list_sources(ready).await.unwrap().into_inner().instances;
        assert_eq!((ready[0].worker_id.as_str(), ready[0].source_load), ("w1", Some(0.25)));
        assert!(ready[0].updated_at > 1_600_000_000_000, "milliseconds");
        id
    });
    server.restart();
    server.runtime.block_on(async {
        let mut client = P2pServiceClient::new(server.channel().await).max_decoding_message_size(100 << 20);
        let request = GetMetadataRequest { mx_source_id: id.clone(), worker_id: "w1".to_owned() };
        let found = client.get_metadata(request).await.unwrap().into_inner();
        let worker = found.worker.unwrap();
        assert!(found.found && worker.worker_rank == 1 && worker.status() == SourceStatus::Ready);
        assert_eq!(worker.backend_metadata, published("w1", 1).worker.unwrap().backend_metadata);
        assert_eq!(found.identity, published("w1", 1).identity);
        let request = GetMetadataRequest { mx_source_id: id, worker_id: "w9".to_owned() };
        let none = client.get_metadata(request).await.unwrap().into_inner();
        assert!(!none.found && none.worker.is_none());
    });
}
