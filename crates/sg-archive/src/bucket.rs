//! Files in a bucket, over `object_store`. Credentials come from the variables by the chain that AWS has: keys, web
//! identity, container, instance. Decides nothing about what is tried again for longer than some seconds.

use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreExt, PutPayload, RetryConfig};
use sg_core::ports::{ErrorKind, PortError};

use crate::place::Variables;

/// How long one request may take: a file of 64 MiB over a slow line.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Tries of one request beyond the first, with jitter in between, and how long they go on; then the archive is said to
/// fail, and tries further.
const RETRIES: usize = 3;
const RETRY_TIME_MAX: Duration = Duration::from_secs(20);

/// A bucket and the prefix of everything in it that is ours.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: AmazonS3,
    url: String,
    prefix: String,
}

impl Bucket {
    /// Prepares access to a bucket, without asking it anything.
    pub(crate) fn open(name: &str, prefix: &str, variables: &Variables) -> Result<Bucket, PortError> {
        // Another part of the process may have said the same before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let endpoint = variables.get("AWS_ENDPOINT_URL_S3").or_else(|| variables.get("AWS_ENDPOINT_URL"));
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_timeout(REQUEST_TIME_MAX)
            .with_connect_timeout(CONNECT_TIME_MAX)
            .with_allow_http(is_plain);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIME_MAX };
        let mut builder = AmazonS3Builder::new().with_client_options(client);
        for (variable, value) in variables.iter() {
            if let Ok(key) = variable.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if is_plain {
            builder = builder.with_allow_http(true);
        }
        let url = format!("s3://{name}/{prefix}");
        let built = builder.with_bucket_name(name).with_retry(retry).build();
        let store = built.map_err(|error| {
            PortError::from_source(ErrorKind::Invalid, format!("setting up the archive {url}"), error)
        })?;
        Ok(Bucket { store, url, prefix: prefix.to_owned() })
    }

    fn key(&self, path: &str) -> Path {
        Path::from(format!("{}{path}", self.prefix))
    }

    /// Writes an object under a path.
    pub(crate) async fn put(&self, path: &str, content: &[Bytes]) -> Result<(), PortError> {
        let payload: PutPayload = content.iter().cloned().collect();
        let put = self.store.put(&self.key(path), payload).await;
        put.map(drop).map_err(|error| self.failure("writing", path, error))
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), PortError> {
        match self.store.delete(&self.key(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failure("deleting", path, error)),
        }
    }

    /// Reads an object, which is to be there.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, PortError> {
        let read = async { self.store.get(&self.key(path)).await?.bytes().await };
        read.await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => {
                let doing = format!("reading {}{path}: it is not there any more", self.url);
                PortError::new(ErrorKind::Corrupt, doing)
            }
            error => self.failure("reading", path, error),
        })
    }

    /// Says what failed and what the operator can do. Everything may pass: keys are changed, buckets are made.
    fn failure(&self, doing: &str, path: &str, error: object_store::Error) -> PortError {
        use object_store::Error;
        let remedy = match &error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                ": access was refused: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do"
            }
            Error::NotFound { .. } => {
                ": the bucket or the object is not there: make the bucket, or name another"
            }
            _ => "",
        };
        // One line: what a server says is often a page.
        let said: Vec<String> = error.to_string().split_whitespace().map(str::to_owned).collect();
        PortError::from_source(
            ErrorKind::Retry,
            format!("{doing} {}{path}{remedy}", self.url),
            said.join(" "),
        )
    }
}
