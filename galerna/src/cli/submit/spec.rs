//! A topology as it is submitted.

use galerna_flux::Loaded;
use galerna_protocol::{Artifact, ComponentSpec, InputSpec, LONGEST_MESSAGE, StreamSpec, TopologySpec};
use galerna_topology_api::{Component, TopologyConfig};
use serde_json::{Map, Value};

use crate::cli::failure::Failure;
use crate::cli::graph::grouping_of;

/// What a message holds besides the definition and the config.
const ROOM: usize = 2 * 1024 * 1024;

/// The specification of a loaded topology that this artifact runs.
pub(in crate::cli) fn of(loaded: &Loaded, artifact: Artifact) -> Result<TopologySpec, Failure> {
    let topology = &loaded.topology;
    let config = config(topology.config())?;
    let (bytes, most) = (loaded.definition.len() + config.len(), LONGEST_MESSAGE - ROOM);
    if bytes > most {
        let message =
            format!("the topology's definition has {bytes} bytes, more than the {most} that can be submitted");
        return Err(Failure::new("too_large", message));
    }
    Ok(TopologySpec {
        name: topology.name().to_owned(),
        definition: loaded.definition.clone(),
        config,
        components: topology.components().iter().map(component).collect(),
        artifact: Some(artifact),
        owner: String::new(),
    })
}

fn config(config: &TopologyConfig) -> Result<String, Failure> {
    let encoded = |error| Failure::new("output", format!("cannot encode the topology's config: {error}"));
    let entries = config.iter().map(|(key, value)| Ok((key.to_owned(), serde_json::to_value(value)?)));
    let entries = entries.collect::<Result<Map<String, Value>, serde_json::Error>>().map_err(encoded)?;
    Ok(Value::Object(entries).to_string())
}

fn component(of: &Component) -> ComponentSpec {
    let streams = of.output.iter().map(|stream| StreamSpec {
        id: stream.id.to_string(),
        fields: stream.fields.iter().map(str::to_owned).collect(),
        is_direct: stream.is_direct,
    });
    let inputs = of.inputs.iter().map(|input| InputSpec {
        from: input.from.to_string(),
        stream: input.stream.to_string(),
        grouping: grouping_of(&input.grouping),
    });
    ComponentSpec {
        id: of.id.to_string(),
        is_spout: of.is_spout(),
        type_name: of.type_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        executors: of.executors,
        first_task: of.tasks.start,
        tasks: of.task_count(),
        streams: streams.collect(),
        inputs: inputs.collect(),
        cpu: of.load.cpu.unwrap_or_default(),
        memory_mb: of.load.memory_mb.unwrap_or_default(),
    }
}
