"""Where Steadyframe runs when it is more than one command: images, manifests, deployments, what sets a server up."""
