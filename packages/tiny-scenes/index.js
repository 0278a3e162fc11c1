/** Path of the model's file. */
module.exports = require.resolve('./tiny-scenes.gguf')
