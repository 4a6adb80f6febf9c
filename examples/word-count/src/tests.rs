//! The topology under test, without input files.

use super::*;
use galerna::testing::*;

#[tokio::test(start_paused = true)]
async fn counts_every_word() -> TestResult {
    let topology = Flux::read("rust.yaml").build(&registry())?;
    let run = LocalCluster::new().mock_spout("lines", [values!["a b"], values!["B"]]).complete(topology).await?;
    assert_same_tuples(run.emitted("count"), [values!["a", 1], values!["b", 2]]);
    assert_eq!(run.spout("lines").acked(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stock_types_count_the_same() -> TestResult {
    let topology = Flux::read("topology.yaml").build(&registry())?;
    let run = LocalCluster::new().mock_spout("lines", [values!["a b"], values!["b"]]).complete(topology).await?;
    assert_same_tuples(run.emitted("count"), [values!["a", 1], values!["b", 2]]);
    Ok(())
}

#[test]
fn every_topology_of_the_folder_is_valid() -> TestResult {
    for file in ["topology.yaml", "rust.yaml", "../rolling-top-words/topology.yaml"] {
        Flux::read(file).build(&registry())?;
    }
    Flux::read("socket.yaml").set("port", "9999").build(&registry())?;
    Ok(())
}
