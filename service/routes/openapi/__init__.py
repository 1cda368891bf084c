"""The OpenAPI document, made from the routes and the models that requests are read by."""
