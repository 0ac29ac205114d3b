//! Publishes metrics to CloudWatch once a minute, and a last time when the server stops. What was counted while CloudWatch was
//! away comes with the next minute; nothing else waits for it.

mod step;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequestBody, ReqwestConnector};
use sg_archive::Variables;
use sg_http::App;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::cloudwatch::CloudWatchSettings;
use step::Steps;

/// The step of those who had these alarms before.
const STEP: Duration = Duration::from_secs(60);
/// How long one request may take: less than a stop waits for it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(3);
/// Of an answer that is no success, what the log is told.
const SAID_CHARACTERS_MAX: usize = 300;

/// A namespace of CloudWatch, and what was published in it.
pub(crate) struct CloudWatch {
    settings: CloudWatchSettings,
    client: HttpClient,
    credentials: AwsCredentialProvider,
    steps: Steps,
    /// Whether the last step failed: said once, not with each.
    is_failing: bool,
}

impl CloudWatch {
    /// Prepares publishing, without asking for anything.
    pub(crate) fn new(settings: &CloudWatchSettings, aws: &Variables) -> anyhow::Result<CloudWatch> {
        // Another part of the process may have said the same before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let is_plain = settings.endpoint.starts_with("http://");
        let options = ClientOptions::new().with_timeout(REQUEST_TIME_MAX).with_allow_http(is_plain);
        let client = ReqwestConnector::default().connect(&options);
        // The chain of credentials that buckets have: keys, web identity, container, instance.
        let mut builder = AmazonS3Builder::new().with_client_options(options).with_bucket_name("none");
        for (variable, value) in aws.iter() {
            if let Ok(key) = variable.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let credentials = builder.with_region(&settings.region).build().context("preparing CloudWatch")?;
        Ok(CloudWatch {
            settings: settings.clone(),
            client: client.context("preparing CloudWatch")?,
            credentials: credentials.credentials().clone(),
            steps: Steps::default(),
            is_failing: false,
        })
    }

    /// Publishes until told to stop, and then once more.
    pub(crate) async fn run(mut self, app: Arc<App>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + STEP, STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // An alarm that takes silence for the worst is told at once that there is somebody.
        self.step(&app).await;
        loop {
            let is_stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            self.step(&app).await;
            if is_stopping {
                return;
            }
        }
    }

    async fn step(&mut self, app: &App) {
        let readings = sg_http::cloudwatch_readings(app).await;
        let data = self.steps.since_published(&readings);
        let body = step::body(&self.settings.namespace, &data, app.clock.now());
        match self.put(body).await {
            Ok(()) => {
                self.steps.published(&readings);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("CloudWatch takes metrics again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("publishing to CloudWatch: {error:#}; tried again with the next step");
                }
            }
        }
    }

    async fn put(&self, body: String) -> anyhow::Result<()> {
        let credential = self.credentials.get_credential().await?;
        let mut request = hyper::Request::post(format!("{}/", self.settings.endpoint))
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(HttpRequestBody::from(body))?;
        AwsAuthorizer::new(&credential, "monitoring", &self.settings.region)
            .try_authorize(&mut request, None)?;
        let answer = self.client.execute(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        // What a server says is often a page: its beginning, in one line.
        let said = answer.into_body().bytes().await.unwrap_or_default();
        let said: Vec<String> =
            String::from_utf8_lossy(&said).split_whitespace().map(str::to_owned).collect();
        let said: String = said.join(" ").chars().take(SAID_CHARACTERS_MAX).collect();
        anyhow::bail!("it answers {status}: {said}")
    }
}
