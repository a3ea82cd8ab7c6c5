"""What hubs, spokes and apps share: values, errors, wire conversion, the SDK and the command line."""
