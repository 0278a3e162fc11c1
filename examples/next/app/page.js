'use client'

import { createElement as h, useState } from 'react'

export default function Page() {
  const [state, setState] = useState({})

  async function draw(event) {
    event.preventDefault()
    const prompt = new FormData(event.currentTarget).get('prompt')
    setState({ isBusy: true })
    const response = await fetch('/api/images', { method: 'POST', body: JSON.stringify({ prompt }) })
    if (response.ok) setState({ url: URL.createObjectURL(await response.blob()), text: `seed ${response.headers.get('X-Seed')}` })
    else setState({ text: (await response.json()).error })
  }

  return h(
    'main',
    null,
    h(
      'form',
      { onSubmit: draw },
      h('input', { name: 'prompt', size: 40, defaultValue: 'a yellow star in the night sky' }),
      h('button', { disabled: state.isBusy }, 'Draw'),
    ),
    h('p', null, state.isBusy ? 'Drawing ...' : state.text),
    state.url && h('img', { src: state.url, width: 256, alt: 'The image' }),
  )
}
