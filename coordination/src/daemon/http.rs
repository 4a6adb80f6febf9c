//! Where a daemon serves metrics and health: what its options say.

use std::str::FromStr;

use anyhow::Context;
use tokio::net::TcpListener;

use super::options::ListenAddress;
use crate::http::Http;

/// Where to serve: what `--http` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// Nowhere: `none`.
    Nowhere,
    /// There.
    At(ListenAddress),
}

impl FromStr for HttpAddress {
    type Err = &'static str;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        if address == "none" {
            return Ok(Self::Nowhere);
        }
        address.parse().map(Self::At).map_err(|_| "expected HOST:PORT or none")
    }
}

impl Http {
    /// Serves at the given address, or else at the usual one if that is free.
    ///
    /// # Errors
    /// When the given address cannot be listened on.
    pub async fn open(given: Option<&HttpAddress>, usual: &str) -> anyhow::Result<Self> {
        let listener = match given {
            Some(HttpAddress::Nowhere) => None,
            Some(HttpAddress::At(address)) => {
                let bound = TcpListener::bind(address.as_str()).await;
                Some(bound.with_context(|| format!("cannot serve metrics and health on {}", address.as_str()))?)
            }
            None => match TcpListener::bind(usual).await {
                Ok(listener) => Some(listener),
                Err(error) => {
                    tracing::warn!(
                        "metrics and health are not served: {usual}: {error}; --http takes another address, or none"
                    );
                    None
                }
            },
        };
        Ok(Self::start(listener)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_address_must_be_free_and_the_usual_one_need_not() {
        assert_eq!("none".parse(), Ok(HttpAddress::Nowhere));
        assert!("9627".parse::<HttpAddress>().is_err());
        let any = "127.0.0.1:0".parse().expect("an address");
        let taken = Http::open(Some(&any), "").await.expect("it listens");
        let address = taken.address().expect("it serves").to_string();
        let given = address.parse().expect("an address");
        let error = Http::open(Some(&given), "").await.expect_err("it is taken");
        assert!(format!("{error:#}").contains(&address), "{error:#}");
        assert_eq!(Http::open(None, &address).await.expect("it goes on without").address(), None);
        assert_eq!(Http::open(Some(&HttpAddress::Nowhere), &address).await.expect("off").address(), None);
    }
}
