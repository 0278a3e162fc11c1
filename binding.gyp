{
  # Forwards to CMakeLists.txt, so that node-gyp and prebuildify work; package.json has "gypfile": false, so npm never runs this by itself.
  "targets": [
    {
      "target_name": "latent",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(module_root_dir)/build/Release/latent.node"],
          "action": ["node", "<(module_root_dir)/scripts/build-native.mjs"]
        }
      ]
    }
  ]
}
