//! s3s-fs, with lists as S3 has them: each object with its etag, and keys encoded where that was asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

#[derive(Clone)]
pub(crate) struct Shelf(Arc<Inner>);

struct Inner {
    files: FileSystem,
    without_etags: AtomicBool,
}

impl Shelf {
    pub(crate) fn new(root: &Path) -> Self {
        Self(Arc::new(Inner { files: FileSystem::new(root).unwrap(), without_etags: AtomicBool::new(false) }))
    }

    pub(crate) fn lists_no_etags(&self) {
        self.0.without_etags.store(true, Ordering::Relaxed);
    }

    async fn etag(&self, bucket: &str, key: &str) -> Option<ETag> {
        let input = HeadObjectInput { bucket: bucket.to_owned(), key: key.to_owned(), ..Default::default() };
        let request = S3Request {
            input,
            method: http::Method::HEAD,
            uri: http::Uri::default(),
            headers: http::HeaderMap::new(),
            extensions: http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        self.0.files.head_object(request).await.ok()?.output.e_tag
    }
}

/// As forms have it, and S3.
fn encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b'/');
    key.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[async_trait::async_trait]
impl S3 for Shelf {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        let encodes = request.input.encoding_type.as_ref().is_some_and(|how| how.as_str() == EncodingType::URL);
        let mut response = self.0.files.list_objects_v2(request).await?;
        for object in response.output.contents.iter_mut().flatten() {
            let Some(key) = object.key.clone() else { continue };
            if !self.0.without_etags.load(Ordering::Relaxed) {
                object.e_tag = self.etag(&bucket, &key).await;
            }
            if encodes {
                object.key = Some(encoded(&key));
            }
        }
        Ok(response)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.0.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.0.files.head_object(request).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.0.files.put_object(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.0.files.create_multipart_upload(request).await
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.0.files.complete_multipart_upload(request).await
    }
}
