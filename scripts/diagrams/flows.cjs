/** Diagrams of data and processes. */
const { Drawing } = require('./svg.cjs')

/** What an editing model computes. */
function edit() {
  const d = new Drawing(720, 400, 'An editing model: the image beside the latents, and three evaluations for two guidance scales')
  d.box(20, 30, 120, 56, ['image', 'sets the size'])
  d.box(180, 30, 130, 56, ['encoder', 'first stage'])
  d.box(350, 30, 150, 56, ['4 channels', 'latents of the image'])
  d.arrow('140,58 178,58').arrow('310,58 348,58')
  d.box(350, 116, 150, 56, ['4 channels', 'noise, then each step'])
  d.box(20, 116, 120, 56, ['prompt', '“make it snow”'])
  d.box(180, 116, 130, 56, ['text encoder'])
  d.arrow('140,144 178,144')

  d.box(560, 62, 140, 78, ['U-Net', '8 channels in,', '4 channels out'], { kind: 'main' })
  d.arrow('500,58 530,58 530,88 558,88').arrow('500,144 530,144 530,114 558,114')
  d.arrow('245,172 245,194 630,194 630,142')

  d.text(20, 232, 'Each step evaluates it three times, or twice if imageGuidanceScale is 1 or equals guidanceScale:', { small: true, muted: true })
  d.box(20, 246, 206, 44, ['neither', 'no image, negative prompt'])
  d.box(257, 246, 206, 44, ['image', 'image, negative prompt'])
  d.box(494, 246, 206, 44, ['both', 'image and prompt'])
  d.arrow('123,290 123,322').arrow('360,290 360,322').arrow('597,290 597,322')
  d.box(
    20,
    324,
    680,
    56,
    [
      'neither + imageGuidanceScale (image - neither) + guidanceScale (both - image)',
      'the sampler takes a step with this; after the last one the decoder makes the result',
    ],
    { kind: 'main' },
  )
  return d
}

/** A depth map of two balls before a wall, as a picture of what is meant. */
const depthPicture = (x, y) =>
  [
    '<defs><linearGradient id="floor" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#2a2a2a"/><stop offset="1" stop-color="#d8d8d8"/></linearGradient>',
    '<radialGradient id="near"><stop offset="0" stop-color="#fff"/><stop offset="1" stop-color="#b0b0b0"/></radialGradient>',
    '<radialGradient id="far"><stop offset="0" stop-color="#999"/><stop offset="1" stop-color="#636363"/></radialGradient></defs>',
    `<rect x="${x}" y="${y}" width="120" height="84" rx="6" fill="#2a2a2a"/><rect x="${x}" y="${y + 38}" width="120" height="46" fill="url(#floor)"/>`,
    `<circle cx="${x + 84}" cy="${y + 40}" r="15" fill="url(#far)"/><circle cx="${x + 42}" cy="${y + 50}" r="25" fill="url(#near)"/>`,
  ].join('')

/** What a depth model computes. */
function depth() {
  const d = new Drawing(720, 330, 'A depth model: one channel of depth beside the latents')
  d.add(depthPicture(20, 24))
  d.text(80, 126, 'depth map', { anchor: 'middle', strong: true }).text(80, 143, 'yours; white is near', {
    anchor: 'middle',
    small: true,
    muted: true,
  })
  d.box(180, 38, 150, 56, ['resized', 'to the latents'])
  d.box(370, 38, 150, 56, ['1 channel', '-1 far, 1 near'])
  d.arrow('140,66 178,66').arrow('330,66 368,66')
  d.box(370, 124, 150, 56, ['4 channels', 'noise, then each step'])
  d.box(20, 170, 120, 50, ['start image', 'if you give one'])
  d.box(180, 170, 150, 50, ['encoder', 'noise by strength'])
  d.arrow('140,195 178,195', { dashed: true }).arrow('330,195 350,195 350,152 368,152', { dashed: true })
  d.box(20, 246, 120, 50, ['prompt', '“a wooden cabin”'])
  d.box(180, 246, 150, 50, ['text encoder'])
  d.arrow('140,271 178,271')
  d.box(570, 70, 130, 78, ['U-Net', '5 channels in,', '4 channels out'], { kind: 'main' })
  d.arrow('520,66 544,66 544,96 568,96').arrow('520,152 544,152 544,122 568,122')
  d.arrow('330,271 635,271 635,150', { label: 'with and without it, for guidanceScale', at: 0.46 })
  return d
}

/** What a retrieval-augmented model reads. */
function retrieval() {
  const d = new Drawing(720, 280, 'A retrieval-augmented model: the prompt and its nearest neighbours in a database guide the U-Net')
  d.box(20, 40, 120, 56, ['prompt', '“a harbour”'])
  d.box(180, 40, 140, 56, ['CLIP', 'text encoder'])
  d.box(370, 40, 150, 56, ['embedding', 'of the prompt'])
  d.box(20, 190, 120, 56, ['your images', 'latent rdm index'])
  d.box(180, 176, 140, 84, ['database', 'image embeddings,', 'searched exactly'])
  d.box(370, 190, 150, 56, ['k embeddings', 'of the nearest'])
  d.box(570, 104, 130, 78, ['U-Net', 'attends to', 'all of them'], { kind: 'main' })
  d.arrow('140,68 178,68').arrow('320,68 368,68').arrow('445,96 445,136 250,136 250,174')
  d.text(262, 129, 'nearest to it', { small: true, muted: true })
  d.arrow('140,218 178,218').arrow('320,218 368,218')
  d.arrow('520,68 635,68 635,102').arrow('520,218 635,218 635,184')
  return d
}

/** The processes of a program with an engine of its own. */
function servers() {
  const d = new Drawing(720, 280, 'Your server, with the engine in a process of its own')
  d.box(20, 54, 110, 56, ['client']).box(20, 130, 110, 56, ['client', 'has left'])
  d.rect(190, 20, 230, 240, 'group').text(305, 42, 'your process', { anchor: 'middle', small: true, muted: true })
  d.box(206, 54, 198, 60, ['your routes', 'limits on what is asked'])
  d.box(206, 164, 198, 78, ['DiffusionHost', 'queue (maxQueue),', 'one job at a time'], { kind: 'main' })
  d.arrow('130,76 204,76', { both: true })
  d.arrow('130,158 160,158 160,98 204,98', { dashed: true })
  d.arrow('240,114 240,162', { label: 'generate()' }).arrow('344,114 344,162', { label: 'abort', dashed: true })
  d.rect(530, 20, 170, 240, 'group').text(615, 42, 'child process', { anchor: 'middle', small: true, muted: true })
  d.box(540, 54, 150, 60, ['model file', 'memory-mapped'])
  d.box(540, 164, 150, 78, ['engine', 'a crash costs one job;', 'it starts again'], { kind: 'main' })
  d.arrow('615,114 615,162')
  d.arrow('404,188 538,188', { label: 'requests' }).arrow('540,218 406,218', { label: 'news, images', below: true })
  return d
}

/** latent serve behind a proxy, and on many machines. */
function deployment() {
  const d = new Drawing(720, 548, 'One machine: a reverse proxy, latent serve and its engine. Many: servers, Redis, workers and a store')
  d.text(20, 34, 'One machine', { strong: true })
  d.box(20, 60, 110, 60, ['clients'])
  d.box(190, 60, 140, 60, ['reverse proxy', 'TLS'])
  d.box(400, 50, 150, 80, ['latent serve', '127.0.0.1:7861,', 'token, queue'], { kind: 'main' })
  d.box(600, 60, 100, 60, ['engine', 'a process'])
  d.arrow('130,90 188,90', { label: 'https' }).arrow('330,90 398,90', { label: 'http' }).arrow('550,90 598,90', { both: true })
  d.line(20, 160, 700, 160, 'rule')

  d.text(20, 192, 'Many machines', { strong: true })
  d.box(20, 270, 110, 60, ['clients'])
  d.box(190, 270, 120, 60, ['balancer', 'TLS, /readyz'])
  d.box(370, 210, 150, 60, ['latent serve', '--queue'], { kind: 'main' })
  d.box(370, 330, 150, 60, ['latent serve', '--queue'], { kind: 'main' })
  d.box(590, 270, 110, 60, ['Redis', 'jobs, news'])
  d.arrow('130,300 188,300', { label: 'https' })
  d.arrow('310,290 340,290 340,240 368,240').arrow('310,310 340,310 340,360 368,360')
  d.arrow('520,240 556,240 556,290 588,290', { both: true }).arrow('520,360 556,360 556,310 588,310', { both: true })

  d.rect(12, 444, 506, 92, 'group')
  for (const [i, more] of ['a device each,', 'with an engine', 'in a process'].entries())
    d.box(24 + 162 * i, 462, 156, 60, ['latent worker', more], { kind: 'main' })
  d.box(570, 462, 130, 60, ['store', 'a folder or S3'])
  d.arrow('620,330 620,420 265,420 265,442', { both: true })
  d.arrow('518,492 568,492', { label: 'images', both: true })
  d.arrow('445,390 445,404 670,404 670,460', { dashed: true })
  d.text(664, 440, 'images', { anchor: 'end', small: true, muted: true })
  return d
}

module.exports = { deployment, depth, edit, retrieval, servers }
