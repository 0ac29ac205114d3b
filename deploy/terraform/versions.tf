terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0, < 7.0"
    }
  }
}

# Without an endpoint it is AWS, with credentials from the environment as usual; with one an emulator or another S3 server.
provider "aws" {
  region                      = var.region
  s3_use_path_style           = var.endpoint != ""
  skip_credentials_validation = var.endpoint != ""
  skip_metadata_api_check     = var.endpoint != ""
  skip_requesting_account_id  = var.endpoint != ""

  dynamic "endpoints" {
    for_each = var.endpoint == "" ? [] : [var.endpoint]
    content {
      s3         = endpoints.value
      cloudwatch = endpoints.value
      sns        = endpoints.value
      sts        = endpoints.value
    }
  }
}
