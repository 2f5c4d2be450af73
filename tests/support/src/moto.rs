//! The AWS emulator moto.

use hyper::Method;
use tokio::sync::OnceCell;

use crate::process::Server;
use crate::{Error, ask_script, http, installed};

const SCRIPT: &str = "tools/moto/setup.sh";

/// A running `moto_server`. It keeps everything in memory and believes any credentials; the account is 123456789012 unless a role was assumed.
#[derive(Debug)]
pub struct Moto {
    endpoint: String,
    _server: Server,
}

impl Moto {
    /// Starts an emulator of its own and waits until it answers.
    pub async fn start() -> Result<Self, Error> {
        let program = installed(ask_script(SCRIPT, "--path")?, SCRIPT)?;
        let arguments = ["-H", "127.0.0.1", "-p", "0"].map(Into::into);
        let server = Server::start("moto", Server::directory("moto")?, &program, &arguments)?;
        // It takes a free port by itself and says which.
        let endpoint = server.until(async || address(&server.log())).await?;
        let health = format!("{endpoint}/moto-api/data.json");
        server.until(async || http::request(Method::GET, &health).await.ok()).await?;
        Ok(Self { endpoint, _server: server })
    }

    /// The emulator that all tests of this process share, started on first use. [`Moto::reset`] would empty it under the others' feet.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Moto> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// What belongs in `AWS_ENDPOINT_URL`: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Forgets every resource of every account and Region.
    pub async fn reset(&self) -> Result<(), Error> {
        http::request(Method::POST, &format!("{}/moto-api/reset", self.endpoint)).await.map(drop)
    }
}

/// The address in "Running on http://127.0.0.1:5000", once that line is complete.
fn address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("Running on ")?;
    let (line, _) = rest.split_once('\n')?;
    Some(line.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn reads_the_address_only_from_a_complete_line() {
        assert_eq!(address("WARNING\n * Running on http://127.0.0.1:40123"), None);
        assert_eq!(address("WARNING\n * Running on http://127.0.0.1:40123\n").as_deref(), Some("http://127.0.0.1:40123"));
    }
}
