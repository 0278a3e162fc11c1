import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  // The page may be at any path of a proxy.
  base: './',
  logLevel: 'warn',
  build: {
    outDir: '../page-dist',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: false,
    // Nothing inline, because the page's content security policy allows only files of this server.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: { output: { entryFileNames: 'page-[hash].js', assetFileNames: 'page-[hash][extname]', codeSplitting: false } },
  },
})
