/** The entry point for `import`: the same objects as for `require`, so that classes and the engine's state exist only once. */
export * from './index.js'
