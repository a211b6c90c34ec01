//! Models: brought here, listed, streamed, deleted.

use std::collections::BTreeMap;
use std::fs::File;

use test_hub::{Fault, Files, Hub, Target};
use tonic::Code;
use weightfs::api::wire::model::{
    DeleteModelRequest, FileChunk, ModelDownloadRequest, ModelFileSelector, ModelFilesRequest, ModelProvider,
    ModelStatus,
};

use super::server::{MIB, MODEL, Server, chunks, download, ensure, files_of, hub, set_bandwidth, wanted};
use crate::harness::eventually;
use crate::machine::Machine;

/// Puts a stream together as clients do, and checks what they check.
fn assemble(chunks: &[FileChunk], commit: &str, largest: usize) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut current: Option<&str> = None;
    assert_eq!(chunks[0].commit_hash.as_deref(), Some(commit), "the first chunk tells the commit");
    for (number, chunk) in chunks.iter().enumerate() {
        assert!(number == 0 || chunk.commit_hash.as_deref().is_none_or(|told| told == commit));
        assert!(chunk.data.len() <= largest);
        match current {
            Some(path) => assert_eq!(path, chunk.relative_path, "one file at a time"),
            None => assert!(!files.contains_key(&chunk.relative_path), "no file comes twice"),
        }
        let file = files.entry(chunk.relative_path.clone()).or_default();
        assert_eq!(chunk.offset, file.len() as u64, "no gaps");
        file.extend_from_slice(&chunk.data);
        assert_eq!(chunk.is_last_chunk, file.len() as u64 == chunk.total_size);
        assert_eq!(chunk.is_last_file, number + 1 == chunks.len());
        current = (!chunk.is_last_chunk).then_some(&chunk.relative_path);
    }
    assert!(current.is_none(), "the last file is whole");
    files
}

fn text(error: tonic::Status) -> (Code, String) {
    (error.code(), error.message().to_owned())
}

#[test]
fn a_model_is_brought_with_bytes_told_and_its_commit_resolved() {
    let (hub, commit, bytes) = hub(24 * MIB);
    set_bandwidth(&hub, Some(16 * MIB as u64));
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        let updates = ensure(&mut client, wanted(MODEL, None)).await;
        let (last, before) = updates.split_last().unwrap();
        assert_eq!(last.status(), ModelStatus::Downloaded, "{last:?}");
        assert_eq!(last.resolved_revision.as_deref(), Some(commit.as_str()));
        let total = bytes.len() + 2 + 5;
        assert!(before.iter().all(|update| update.status() == ModelStatus::Downloading));
        let told = format!("of {total} bytes");
        let told = before.iter().filter(|update| update.message.as_ref().is_some_and(|text| text.contains(&told)));
        assert!(told.count() >= 2, "{before:?}");
        assert!(updates.iter().all(|update| update.model_name == MODEL));
        assert_eq!(hub.data_bytes(), total as u64, "each byte once");
        // Again, from what is here; also by the branch, and by the commit in capitals.
        for revision in [None, Some("main"), Some(commit.to_ascii_uppercase().as_str())] {
            let last = ensure(&mut client, wanted(MODEL, revision)).await.pop().unwrap();
            assert_eq!((last.status(), last.resolved_revision.as_deref()), (ModelStatus::Downloaded, Some(&*commit)));
        }
        assert_eq!(hub.data_bytes(), total as u64);
    });
}

#[test]
fn many_who_want_one_model_fetch_each_byte_once() {
    let (hub, _, bytes) = hub(24 * MIB);
    set_bandwidth(&hub, Some(24 * MIB as u64));
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let all = (0..8).map(|number| {
            let server = &server;
            async move {
                let mut client = server.models().await;
                if number % 2 == 0 {
                    download(&mut client, MODEL).await;
                } else {
                    let sent = chunks(&mut client, files_of(MODEL)).await.unwrap();
                    assert_eq!(sent.iter().map(|chunk| chunk.data.len()).sum::<usize>(), 24 * MIB + 7);
                }
            }
        });
        futures::future::join_all(all).await;
    });
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 7);
}

#[test]
fn weights_that_are_not_wanted_are_not_fetched() {
    let (hub, commit, _) = hub(4 * MIB);
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        let request = ModelDownloadRequest { ignore_weights: true, ..wanted(MODEL, Some("main")) };
        let last = ensure(&mut client, request).await.pop().unwrap();
        assert_eq!((last.status(), last.resolved_revision), (ModelStatus::Downloaded, Some(commit.clone())));
        assert_eq!(hub.data_bytes(), 7);
        let request = ModelFilesRequest { ignore_weights: true, ..files_of(MODEL) };
        let list = client.list_model_files(request.clone()).await.unwrap().into_inner();
        let names: Vec<_> = list.files.iter().map(|file| file.relative_path.as_str()).collect();
        assert_eq!((names, list.total_size), (vec!["config.json", "empty.txt", "sub/notes.txt"], 7));
        let files = assemble(&chunks(&mut client, request).await.unwrap(), &commit, MIB);
        assert_eq!(files.len(), 3);
        assert_eq!(hub.data_bytes(), 7);
    });
}

#[test]
fn what_cannot_be_had_is_told_and_never_left_open() {
    let (hub, commit, _) = hub(MIB);
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        let mut refused = async |request| text(client.ensure_model_downloaded(request).await.unwrap_err());
        assert_eq!(refused(ModelDownloadRequest { provider: 9, ..wanted(MODEL, None) }).await.0, Code::InvalidArgument);
        let s3 = ModelDownloadRequest { provider: ModelProvider::S3.into(), ..wanted(MODEL, None) };
        let (code, said) = refused(s3).await;
        assert!(code == Code::InvalidArgument && said.contains("HUGGING_FACE"), "{said}");
        assert_eq!(refused(wanted("no/such/name", None)).await.0, Code::InvalidArgument);
        assert_eq!(refused(wanted(MODEL, Some("no such"))).await.0, Code::InvalidArgument);
        assert_eq!(refused(wanted(MODEL, Some("no-such-branch"))).await.0, Code::NotFound);
        assert_eq!(refused(wanted(MODEL, Some(&"0".repeat(40)))).await.0, Code::NotFound);
        assert_eq!(refused(wanted("acme/none", Some(&commit))).await.0, Code::NotFound);

        let last = ensure(&mut client, wanted("acme/none", None)).await.pop().unwrap();
        assert_eq!(last.status(), ModelStatus::Error);
        assert!(last.message.unwrap().contains("acme/none"));
        hub.set_faults(Fault::on(Target::Cdn).path("model.safetensors").status(403));
        let last = ensure(&mut client, wanted(MODEL, None)).await.pop().unwrap();
        assert_eq!(last.status(), ModelStatus::Error);
        assert!(last.message.as_ref().unwrap().contains("model.safetensors"), "{last:?}");
        let status = chunks(&mut client, files_of(MODEL)).await.unwrap_err();
        assert!(status.message().contains("model.safetensors"), "{status}");
        for request in
            [files_of("acme/none"), ModelFilesRequest { revision: Some("gone".to_owned()), ..files_of(MODEL) }]
        {
            assert_eq!(client.list_model_files(request.clone()).await.unwrap_err().code(), Code::NotFound);
            assert_eq!(client.stream_model_files(request).await.unwrap_err().code(), Code::NotFound);
        }
    });
}

#[test]
fn a_stream_is_what_clients_rely_on_whatever_the_chunks() {
    let (hub, commit, bytes) = hub(5 * MIB + 77);
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        for (asked, largest) in [(0, MIB), (32 << 10, 32 << 10), (1_000_003, 1_000_003), (u32::MAX, 4 * MIB)] {
            let request = ModelFilesRequest { chunk_size: asked, ..files_of(MODEL) };
            let sent = chunks(&mut client, request).await.unwrap();
            let files = assemble(&sent, &commit, largest);
            let names: Vec<_> = files.keys().map(String::as_str).collect();
            assert_eq!(names, ["config.json", "empty.txt", "model.safetensors", "sub/notes.txt"]);
            assert!(files["model.safetensors"] == bytes);
            assert_eq!((files["empty.txt"].len(), files["sub/notes.txt"].as_slice()), (0, &b"notes"[..]));
            let longest = sent.iter().map(|chunk| chunk.data.len()).max().unwrap();
            assert!(asked == 0 || asked == u32::MAX || longest == asked as usize);
        }
        assert_eq!(hub.data_bytes(), bytes.len() as u64 + 7, "streamed from the cache");
        let list = client.list_model_files(files_of(MODEL)).await.unwrap().into_inner();
        assert_eq!((list.files.len(), list.total_size, list.model_name.as_str()), (4, bytes.len() as u64 + 7, MODEL));
    });
}

#[test]
fn a_selector_and_a_revision_name_exactly_what_is_streamed() {
    let (hub, first, _) = hub(MIB);
    let second = hub.commit(MODEL, Files::new().text("config.json", "{\"new\": 1}").text("other.txt", "o")).unwrap();
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        let select = |paths: &[&str], revision: Option<&str>| ModelFilesRequest {
            file_selector: Some(ModelFileSelector { paths: paths.iter().map(|path| path.to_string()).collect() }),
            revision: revision.map(str::to_owned),
            ..files_of(MODEL)
        };
        let old = chunks(&mut client, select(&["sub/notes.txt", "config.json"], Some(&first))).await.unwrap();
        let old = assemble(&old, &first, MIB);
        assert_eq!(old.keys().collect::<Vec<_>>(), ["config.json", "sub/notes.txt"]);
        assert_eq!(old["config.json"], b"{}");
        let new = assemble(&chunks(&mut client, select(&["config.json"], None)).await.unwrap(), &second, MIB);
        assert_eq!(new["config.json"], b"{\"new\": 1}");
        let mut refused = async |request| chunks(&mut client, request).await.unwrap_err().code();
        assert_eq!(refused(select(&["no-such.txt"], None)).await, Code::NotFound);
        assert_eq!(refused(select(&["other.txt"], Some(&first))).await, Code::NotFound);
        assert_eq!(refused(select(&["../config.json"], None)).await, Code::InvalidArgument);
        assert_eq!(refused(select(&[], None)).await, Code::InvalidArgument);
        assert_eq!(hub.data_bytes(), 2 + 5 + 10, "nothing else came");
    });
}

#[test]
fn a_stream_begins_while_the_hub_still_sends() {
    let (hub, commit, bytes) = hub(32 * MIB);
    set_bandwidth(&hub, Some(8 * MIB as u64));
    let server = Server::start(&hub);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        let mut stream = client.stream_model_files(files_of(MODEL)).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(chunk) = stream.message().await.unwrap() {
            let first_weights = chunk.relative_path == "model.safetensors" && chunk.offset == 0;
            all.push(chunk);
            if first_weights {
                assert!(hub.data_bytes() < bytes.len() as u64, "the Hub has more to send");
                set_bandwidth(&hub, None);
            }
        }
        assert!(assemble(&all, &commit, MIB)["model.safetensors"] == bytes);
    });
    assert_eq!(hub.data_bytes(), bytes.len() as u64 + 7, "each byte once");
}

#[test]
fn a_model_that_is_open_or_pinned_is_not_deleted() {
    let (hub, commit, bytes) = hub(2 * MIB);
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let server = Server::start_on(machine, &[]);
    server.machine.succeed(&["mount", directory.to_str().unwrap()]);
    let request = || DeleteModelRequest { model_name: MODEL.to_owned(), ..DeleteModelRequest::default() };
    server.runtime.block_on(async {
        let mut client = server.models().await;
        download(&mut client, MODEL).await;
        let path = directory.join("hub/models--acme--big/snapshots").join(&commit).join("model.safetensors");
        let open = File::open(path).unwrap();
        let (code, said) = text(client.delete_model(request()).await.unwrap_err());
        assert!(code == Code::FailedPrecondition && said.contains("acme/big: model.safetensors"), "{said}");
        download(&mut client, MODEL).await;
        assert_eq!(hub.data_bytes(), bytes.len() as u64 + 7, "none of it was gone");
        drop(open);

        server.machine.succeed(&["model", "pin", MODEL]);
        let (code, said) = text(client.delete_model(request()).await.unwrap_err());
        assert!(code == Code::FailedPrecondition && said.contains("is pinned"), "{said}");
        server.machine.succeed(&["model", "unpin", MODEL]);

        let mut said = String::new();
        // The kernel tells of the close a moment later.
        for _ in 0..500 {
            match client.delete_model(request()).await {
                Ok(reply) => {
                    said = reply.into_inner().message.unwrap();
                    break;
                }
                Err(status) => assert!(status.message().contains("open now"), "{status}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(said.contains(&format!("{} bytes freed", bytes.len() + 7)), "{said}");
        let again = client.delete_model(request()).await.unwrap().into_inner();
        assert!(again.success && again.message.unwrap().contains("nothing of it was here"));
        let none = DeleteModelRequest { model_name: "acme/none".to_owned(), ..request() };
        assert!(client.delete_model(none).await.unwrap().into_inner().success);
        download(&mut client, MODEL).await;
        assert_eq!(hub.data_bytes(), 2 * (bytes.len() as u64 + 7), "it comes again when it is wanted");
    });
    server.machine.succeed(&["umount", directory.to_str().unwrap()]);
    eventually("the mount is gone", || !crate::machine::is_mounted(&directory));
    let mut server = server;
    assert!(!server.has_ended(), "it stays without a mount");
}

#[test]
fn what_came_under_a_mounts_own_token_is_not_there_for_others() {
    let hub = Hub::start().unwrap();
    hub.commit("acme/secret", Files::new().text("config.json", "{}")).unwrap();
    hub.add_token("reader", "hf_reader");
    hub.set_private("acme/secret", &["reader"]).unwrap();
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let server = Server::start_on(machine, &[]);
    let mount = server.machine.command(&["mount", directory.to_str().unwrap()]).env("HF_TOKEN", "hf_reader").output();
    assert!(mount.unwrap().status.success());
    let main = directory.join("hub/models--acme--secret/refs/main");
    let commit = std::fs::read_to_string(main).unwrap();
    let path = directory.join("hub/models--acme--secret/snapshots").join(commit.trim()).join("config.json");
    assert_eq!(std::fs::read(&path).unwrap(), b"{}");
    server.runtime.block_on(async {
        let mut client = server.models().await;
        for revision in [None, Some(commit.trim().to_owned())] {
            let request = ModelFilesRequest { revision, ..files_of("acme/secret") };
            let code = client.list_model_files(request.clone()).await.unwrap_err().code();
            assert!(matches!(code, Code::NotFound | Code::PermissionDenied), "{code:?}");
            let code = client.stream_model_files(request).await.unwrap_err().code();
            assert!(matches!(code, Code::NotFound | Code::PermissionDenied), "{code:?}");
        }
        let last = ensure(&mut client, wanted("acme/secret", None)).await.pop().unwrap();
        assert_eq!(last.status(), ModelStatus::Error);
        let request = DeleteModelRequest { model_name: "acme/secret".to_owned(), ..DeleteModelRequest::default() };
        let reply = client.delete_model(request).await.unwrap().into_inner();
        assert!(reply.message.unwrap().contains("nothing of it was here"));
    });
    let before = hub.data_bytes();
    assert_eq!(std::fs::read(&path).unwrap(), b"{}");
    assert_eq!(hub.data_bytes(), before, "it was not deleted");
    server.machine.succeed(&["umount", directory.to_str().unwrap()]);
}

#[test]
fn with_the_hub_away_what_is_here_is_served() {
    let (hub, commit, bytes) = hub(3 * MIB);
    let server = Server::start_with(&hub, &[("WEIGHTFS_ORIGIN_GIVE_UP_SECONDS", "2")]);
    server.runtime.block_on(async {
        let mut client = server.models().await;
        download(&mut client, MODEL).await;
        hub.stop();
        for revision in [None, Some(commit.as_str())] {
            let last = ensure(&mut client, wanted(MODEL, revision)).await.pop().unwrap();
            assert_eq!(last.status(), ModelStatus::Downloaded, "{last:?}");
            assert_eq!(last.resolved_revision.as_deref(), Some(commit.as_str()));
        }
        let files = assemble(&chunks(&mut client, files_of(MODEL)).await.unwrap(), &commit, MIB);
        assert!(files["model.safetensors"] == bytes);
        let other = client.stream_model_files(files_of("acme/other")).await.unwrap_err();
        assert_eq!(other.code(), Code::Unavailable, "{other}");
    });
}
