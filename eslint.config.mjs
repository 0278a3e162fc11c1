import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'
import { droppedJob } from './scripts/eslint-dropped-job.mjs'

export default defineConfig(
  {
    ignores: [
      'assets/',
      'build/',
      'build-*/',
      'coverage/',
      'deps/',
      'dist/',
      'prebuilds/',
      'types/',
      'test/fixtures/',
      '.cache/',
      'packages/server/dist/',
      'packages/server/page-dist/',
      'packages/worker/dist/',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.{ts,mts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { latent: { rules: { 'dropped-job': droppedJob } } },
    rules: {
      'latent/dropped-job': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // A public function that promises is async even where it waits for nothing: what it throws must reject.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
    },
  },
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process',
          'console',
          'Buffer',
          'URL',
          'setTimeout',
          'clearTimeout',
          'setImmediate',
          'performance',
          'module',
          'require',
          '__dirname',
          '__filename',
          'structuredClone',
          'TextDecoder',
          'TextEncoder',
          'AbortController',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['examples/{electron,next}/**/*.js'],
    languageOptions: { globals: Object.fromEntries(['Response', 'document', 'fetch', 'FormData', 'globalThis'].map((name) => [name, 'readonly'])) },
  },
  {
    // Tests look at untyped JSON and at what crosses process boundaries.
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { ignoreUsingDeclarations: true }],
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-explicit-any': 'off',
    },
  },
)
