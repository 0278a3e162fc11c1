/** The entry point for `import`: the same objects as for `require`, so that there is one copy of every class and of the engine's state. */
export * from './index.js';
