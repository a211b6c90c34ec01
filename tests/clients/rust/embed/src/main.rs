//! `embed --model ORG/NAME SENTENCE SENTENCE...`: loads a BERT sentence-embedding model by its plain id, as any candle
//! program does, and prints each sentence's similarity to the first as JSON.
//!
//! Where the files are is left to `HF_HOME`; the program knows nothing of what is mounted there.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use hf_hub::api::sync::ApiBuilder;
use tokenizers::Tokenizer;

fn main() -> Result<()> {
    let (model, sentences) = arguments()?;
    let started = Instant::now();
    let files = Files::of(&model)?;
    let encoder = Encoder::load(&files)?;
    let loaded = started.elapsed();
    let embeddings = sentences.iter().map(|sentence| encoder.embed(sentence)).collect::<Result<Vec<_>>>()?;
    let similarities = embeddings[1..].iter().map(|other| dot(&embeddings[0], other)).collect::<Vec<_>>();
    println!(
        "{}",
        serde_json::json!({
            "model": model,
            "weights": files.weights,
            "dimensions": embeddings[0].len(),
            "similarities": similarities,
            "embeddings": embeddings,
            "load_seconds": loaded.as_secs_f64(),
            "total_seconds": started.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}

fn arguments() -> Result<(String, Vec<String>)> {
    let mut arguments = std::env::args().skip(1);
    let (Some("--model"), Some(model)) = (arguments.next().as_deref(), arguments.next()) else {
        bail!("usage: embed --model ORG/NAME SENTENCE SENTENCE...");
    };
    let sentences: Vec<String> = arguments.collect();
    if sentences.len() < 2 {
        bail!("give two sentences or more to compare");
    }
    Ok((model, sentences))
}

struct Files {
    config: PathBuf,
    tokenizer: PathBuf,
    weights: PathBuf,
}

impl Files {
    fn of(model: &str) -> Result<Self> {
        let repo = ApiBuilder::from_env().with_progress(false).build()?.model(model.to_owned());
        let get = |name: &str| repo.get(name).with_context(|| format!("{name} of {model}"));
        Ok(Self { config: get("config.json")?, tokenizer: get("tokenizer.json")?, weights: get("model.safetensors")? })
    }
}

struct Encoder {
    tokenizer: Tokenizer,
    model: BertModel,
}

impl Encoder {
    fn load(files: &Files) -> Result<Self> {
        let config =
            std::fs::read_to_string(&files.config).with_context(|| format!("read {}", files.config.display()))?;
        let config: Config = serde_json::from_str(&config)
            .context("this program runs BERT models only (try sentence-transformers/all-MiniLM-L6-v2)")?;
        let mut tokenizer = Tokenizer::from_file(&files.tokenizer).map_err(Error::msg)?;
        tokenizer.with_padding(None);
        // SAFETY: the mapped file is a blob named by its hash; nobody writes to it.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[&files.weights], DType::F32, &Device::Cpu)? };
        Ok(Self { tokenizer, model: BertModel::load(weights, &config)? })
    }

    /// The mean of the token vectors, of length one.
    fn embed(&self, sentence: &str) -> Result<Vec<f32>> {
        let encoding = self.tokenizer.encode(sentence, true).map_err(Error::msg)?;
        let tokens = Tensor::new(encoding.get_ids(), &Device::Cpu)?.unsqueeze(0)?;
        let types = tokens.zeros_like()?;
        let vectors = self.model.forward(&tokens, &types, None)?;
        let mean = vectors.mean(1)?.squeeze(0)?;
        let length = mean.sqr()?.sum_all()?.sqrt()?;
        Ok(mean.broadcast_div(&length)?.to_vec1()?)
    }
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
