"""What every part may use: files that appear whole, checks of arguments, options, denormals. It knows no other part."""
