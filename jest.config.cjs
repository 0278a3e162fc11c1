/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['<rootDir>/test/{unit,parity,integration,package}/**/*.test.ts'],
  // Sources say './x.js', as Node wants it; the tests run them from TypeScript.
  moduleNameMapper: {
    '^node-latent-diffusion$': '<rootDir>/dist/index.js',
    '^@node-latent-diffusion/worker$': '<rootDir>/packages/worker/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }] },
  modulePathIgnorePatterns: ['<rootDir>/build', '<rootDir>/deps', '<rootDir>/dist/package.json'],
  // A test file runs in a context of its own, where every look at a global costs a microsecond; as parameters of the module these are free.
  sandboxInjectedGlobals: ['Math', 'Number', 'Object', 'Array', 'Float32Array', 'Float64Array', 'Int32Array', 'Uint8Array', 'Uint16Array'],
  // Tells a hang from a busy machine, nothing more: the slowest tests take seconds.
  testTimeout: 300_000,
  // The engine uses every core by itself; more workers only slow each other down and multiply the memory.
  maxWorkers: 1,
}
