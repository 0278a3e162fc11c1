import { createElement as h } from 'react'

export const metadata = { title: 'node-latent-diffusion' }

export default function Layout({ children }) {
  return h('html', { lang: 'en' }, h('body', null, children))
}
