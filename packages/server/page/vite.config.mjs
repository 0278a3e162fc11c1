import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  // The page may lie under any path of a proxy.
  base: './',
  logLevel: 'warn',
  build: {
    outDir: '../page-dist',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    // Nothing inline: the policy of the page allows files of this server alone.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: { output: { entryFileNames: 'page-[hash].js', assetFileNames: 'page-[hash][extname]', codeSplitting: false } },
  },
})
