//! `model_express.health`: that the service works, and since when.

use tonic::{Request, Response, Status};

use super::Ground;
use crate::api::wire::health::health_service_server::HealthService;
use crate::api::wire::health::{HealthRequest, HealthResponse};

pub struct Health {
    pub(super) ground: Ground,
}

#[tonic::async_trait]
impl HealthService for Health {
    async fn get_health(&self, _: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        let _answer = self.ground.answers.token();
        Ok(Response::new(HealthResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            status: "ok".to_owned(),
            uptime: self.ground.node.uptime().as_secs(),
        }))
    }
}
