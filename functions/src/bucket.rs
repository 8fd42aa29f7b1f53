//! The bucket of the archive, through its native binding.

use aos::platform::{Deleted, ObjectStore, PlatformError};
use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use worker::{Bucket, Env, HttpMetadata};

/// The bucket's binding in wrangler.toml.
const BINDING: &str = "ARCHIVE";
/// Objects that one call lists and deletes at most.
const PAGE: u32 = 1_000;

/// The bucket of this deployment, if it has one.
pub(crate) fn bucket(env: &Env) -> Option<WorkersBucket> {
    env.bucket(BINDING).ok().map(WorkersBucket)
}

/// A bucket of R2.
pub(crate) struct WorkersBucket(Bucket);

impl ObjectStore for WorkersBucket {
    fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        let metadata = HttpMetadata {
            content_type: Some(content_type.to_owned()),
            ..HttpMetadata::default()
        };
        let put = self.0.put(key, Vec::from(bytes)).http_metadata(metadata);
        async move { put.execute().await.map(drop).map_err(failed) }.boxed_local()
    }

    fn get(&self, key: &str, max_bytes: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        let get = self.0.get(key);
        async move {
            let Some(object) = get.execute().await.map_err(failed)? else {
                return Ok(None);
            };
            if usize::try_from(object.size()).unwrap_or(usize::MAX) > max_bytes {
                return Err(PlatformError(format!("the object has {} bytes", object.size())));
            }
            let body = object
                .body()
                .ok_or_else(|| PlatformError("the object came without its body".to_owned()))?;
            body.bytes().await.map(|bytes| Some(Bytes::from(bytes))).map_err(failed)
        }
        .boxed_local()
    }

    fn delete_some(&self, prefix: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        let list = self.0.list().prefix(prefix).limit(PAGE);
        async move {
            let listed = list.execute().await.map_err(failed)?;
            let keys: Vec<String> = listed.objects().iter().map(worker::Object::key).collect();
            let objects = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            if !keys.is_empty() {
                self.0.delete_multiple(keys).await.map_err(failed)?;
            }
            Ok(Deleted {
                objects,
                more: listed.truncated(),
            })
        }
        .boxed_local()
    }
}

fn failed(error: worker::Error) -> PlatformError {
    PlatformError(error.to_string())
}
