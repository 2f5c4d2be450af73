//! The emulator, the recording proxy before it, and the command.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use serde_json::Value;
use test_support::Moto;
use test_support::proxy::Proxy;
use tokio::process::Command;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";

pub(crate) struct Aws {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) proxy: Proxy,
    _moto: Moto,
}

/// What the command answered.
pub(crate) struct Answer {
    pub(crate) exit: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.output, self.errors))
    }
}

impl Aws {
    /// The clients speak to the emulator itself, which takes what AWS would refuse; the command speaks to the proxy.
    pub(crate) async fn start() -> Self {
        let moto = Moto::start().await.expect("moto");
        let proxy = Proxy::start(moto.endpoint().parse().expect("an address")).await.expect("proxy starts");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .region(Region::new(REGION))
            .endpoint_url(moto.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIAEXAMPLE", "secret", None, None, "tests")))
            .build();
        Self { sqs: aws_sdk_sqs::Client::new(&config), kms: aws_sdk_kms::Client::new(&config), proxy, _moto: moto }
    }

    pub(crate) async fn audit(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
        command.arg("audit").args(arguments).env_clear();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", self.proxy.endpoint()),
            ("AWS_ACCESS_KEY_ID", "auditor"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("KUBECONFIG", "/nonexistent"),
        ] {
            command.env(name, value);
        }
        let output = command.output().await.expect("it runs");
        Answer {
            exit: output.status.code().unwrap_or(-1),
            output: String::from_utf8(output.stdout).expect("UTF-8"),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
