/** Moving and enlarging the image of the mask editor, in a real browser. */
import type { BrowserContextOptions, Page } from 'playwright-core'
import { RawImage } from '../../../lib/image/raw-image'
import { findings, give, inBrowser, number, press } from './browser'

inBrowser('the view of the mask editor', (own) => {
  /** The editor, open on a grey image, and what it shows. */
  async function edit(options?: BrowserContextOptions) {
    const page = await own.open(options)
    const grey = new RawImage({ data: new Uint8Array(64 * 64 * 3).fill(128), width: 64, height: 64, channels: 3 })
    await give(page, 'paste', await grey.encode())
    if (options?.isMobile) await page.getByText('Start image, size and sampling').click()
    await press(page, 'Paint a mask')
    const canvas = page.getByRole('img', { name: 'Mask' })
    const area = page.getByRole('group', { name: 'Image and mask' })
    const box = async () => (await canvas.boundingBox())!
    const room = async () => (await area.boundingBox())!
    const painted = () =>
      canvas.evaluate((element: HTMLCanvasElement) => {
        const { data } = element.getContext('2d')!.getImageData(0, 0, element.width, element.height)
        return data.filter((value, i) => i % 4 === 3 && value >= 128).length
      })
    /** The page works in its next frames. */
    const settle = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
    const becomes = async (what: () => Promise<number>, expected: number) => {
      while ((await what()) !== expected) await page.waitForTimeout(50)
    }
    /** By how much the image moves during an action. */
    const shift = async (action: () => Promise<unknown>): Promise<[number, number]> => {
      const before = await box()
      await action()
      await settle()
      const after = await box()
      expect([after.width, after.height]).toEqual([before.width, before.height])
      return [Math.round(after.x - before.x), Math.round(after.y - before.y)]
    }
    return { page, canvas, area, box, room, painted, settle, becomes, shift }
  }

  async function drag(page: Page, [x, y]: [number, number], [dx, dy]: [number, number], button: 'left' | 'middle' = 'left') {
    await page.mouse.move(x, y)
    await page.mouse.down({ button })
    await page.mouse.move(x + dx, y + dy, { steps: 4 })
    await page.mouse.up({ button })
  }

  test('by the mouse: the wheel, Space, the middle button, the tool', async () => {
    const { page, canvas, box, room, painted, settle, becomes, shift } = await edit()
    const whole = await box()
    const { x, y, width, height } = await room()
    expect(whole.width).toBeLessThanOrEqual(width)
    expect(await shift(() => drag(page, [x + 8, y + height / 2], [40, 40], 'middle'))).toEqual([0, 0]) // all of it is visible

    // Enlarged about the pointer, once there is more than the area shows.
    const point: [number, number] = [x + width * 0.3, y + height * 0.75]
    await page.mouse.move(...point)
    const enlarge = async (times: number) => {
      await page.keyboard.down('Control')
      for (let i = 0; i < times; i++) {
        await page.mouse.wheel(0, -100)
        await settle()
      }
      await page.keyboard.up('Control')
      await becomes(async () => Math.round(((await box()).width / whole.width) * 10), Math.round(1.15 ** times * 10))
    }
    const under = async () => {
      const { x: left, y: top, width: w, height: h } = await box()
      return { x: (point[0] - left) / w, y: (point[1] - top) / h }
    }
    await enlarge(6)
    const before = await under()
    whole.width = (await box()).width
    await enlarge(5)
    const after = await under()
    expect(Math.abs(after.x - before.x)).toBeLessThan(0.005)
    expect(Math.abs(after.y - before.y)).toBeLessThan(0.005)
    expect(await findings(page)).toEqual([])

    // Nothing of this paints.
    const centre: [number, number] = [x + width / 2, y + height / 2]
    await page.mouse.move(...centre)
    await page.keyboard.down(' ')
    expect(await shift(() => drag(page, centre, [-60, 35]))).toEqual([-60, 35])
    await page.keyboard.up(' ')
    expect(await shift(() => drag(page, centre, [25, -50], 'middle'))).toEqual([25, -50])
    await page.keyboard.press('h')
    expect(await page.getByRole('button', { name: 'Move (H)' }).getAttribute('aria-pressed')).toBe('true')
    expect(await shift(() => drag(page, centre, [30, 20]))).toEqual([30, 20])
    expect(await shift(() => drag(page, centre, [5000, 5000]))).not.toEqual([5000, 5000]) // to the edge, no further
    expect((await box()).x).toBeCloseTo(x, 0)
    expect(await painted()).toBe(0)

    // The brush paints again, where the pointer is.
    await page.keyboard.press('b')
    expect(await shift(() => drag(page, centre, [40, 0]))).toEqual([0, 0])
    expect(await painted()).toBeGreaterThan(0)
    await page.keyboard.press('Control+z')
    await becomes(painted, 0)

    // Space after a click on a button is for the image if the pointer is back on it, else for the button.
    await press(page, 'Invert (I)')
    await becomes(painted, 64 * 64)
    await page.mouse.move(...centre)
    await page.keyboard.down(' ')
    expect(await shift(() => drag(page, centre, [-40, -40]))).toEqual([-40, -40])
    await page.keyboard.up(' ')
    expect(await painted()).toBe(64 * 64)
    await press(page, 'Undo')
    await becomes(painted, 0)
    await page.getByRole('button', { name: 'Invert (I)' }).focus()
    await page.keyboard.press(' ')
    await becomes(painted, 64 * 64)
    await expect(canvas.evaluate((element) => element.closest('[data-pointer]') === null)).resolves.toBe(true)
    await page.context().close()
  })

  test('by the keyboard, and announced', async () => {
    const { page, area, box, painted, settle, shift, room } = await edit()
    const said = page.getByRole('dialog').getByRole('status')
    await page.getByRole('button', { name: 'Done' }).focus()
    await page.keyboard.press('Tab')
    expect(await area.evaluate((element) => element === document.activeElement)).toBe(true)
    expect(await findings(page)).toEqual([])
    expect(await shift(() => page.keyboard.press('ArrowRight'))).toEqual([0, 0])
    await said.getByText('The whole image is visible').waitFor()
    const whole = await box()
    for (let i = 0; i < 5; i++) await page.keyboard.press('+')
    await said.getByText(/^Zoom 201 %: \d+ to \d+ % of the width, \d+ to \d+ % of the height$/).waitFor()
    expect((await box()).width / whole.width).toBeCloseTo(1.15 ** 5, 1)
    const [x, y] = await shift(() => page.keyboard.press('ArrowRight'))
    expect([x < -50, y]).toEqual([true, 0])
    expect(await shift(() => page.keyboard.press('ArrowLeft'))).toEqual([-x, 0])
    expect((await shift(() => page.keyboard.press('ArrowDown')))[1]).toBe(x)
    await page.keyboard.press('Shift+ArrowUp')
    await page.keyboard.press('Shift+ArrowLeft')
    await page.keyboard.press('Shift+ArrowLeft')
    await said.getByText(/^Zoom 201 %: 0 to \d+ % of the width, 0 to \d+ % of the height$/).waitFor()
    expect((await box()).x).toBeCloseTo((await room()).x, 0)
    expect(await findings(page)).toEqual([])

    // Keys of fields stay theirs.
    await number(page, 'Brush').focus()
    const value = Number(await number(page, 'Brush').inputValue())
    expect(await shift(() => page.keyboard.press('ArrowUp'))).toEqual([0, 0])
    expect(Number(await number(page, 'Brush').inputValue())).toBe(value + 1)
    await number(page, 'Zoom').fill('300')
    await settle()
    expect((await box()).width / whole.width).toBeCloseTo(3, 1)
    await area.focus()
    await page.keyboard.press('0')
    await said.getByText('The whole image is visible').waitFor()
    expect(await box()).toEqual(whole)
    expect(await painted()).toBe(0)
    await page.context().close()
  })

  test('by two fingers, on a phone', async () => {
    const { page, box, room, painted, settle, becomes } = await edit({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
    const session = await page.context().newCDPSession(page)
    const touch = async (type: 'touchStart' | 'touchMove' | 'touchEnd', fingers: Record<number, [number, number]> = {}) => {
      const touchPoints = Object.entries(fingers).map(([id, [x, y]]) => ({ id: Number(id), x, y }))
      await session.send('Input.dispatchTouchEvent', { type, touchPoints })
      await settle()
    }
    const whole = await box()
    const { x, y, width, height } = await room()
    const [cx, cy] = [x + width / 2, y + height / 2]
    // The first finger comes down alone, and moves a little.
    await touch('touchStart', { 0: [cx - 40, cy] })
    await touch('touchMove', { 0: [cx - 38, cy] })
    await touch('touchStart', { 0: [cx - 38, cy], 1: [cx + 38, cy] })
    for (let i = 1; i <= 4; i++) await touch('touchMove', { 0: [cx - 38 - 10 * i, cy], 1: [cx + 38 + 10 * i, cy] })
    const large = await box()
    expect(large.width / whole.width).toBeCloseTo(78 / 38, 1)
    expect(Math.abs(large.x + large.width / 2 - cx)).toBeLessThanOrEqual(1) // about the middle between them
    for (let i = 1; i <= 4; i++) await touch('touchMove', { 0: [cx - 78 + 10 * i, cy - 5 * i], 1: [cx + 78 + 10 * i, cy - 5 * i] })
    const moved = await box()
    expect(Math.abs(moved.x - large.x - 40)).toBeLessThanOrEqual(1)
    expect(Math.abs(moved.y - large.y + 20)).toBeLessThanOrEqual(1)
    await touch('touchEnd', { 0: [cx - 38, cy - 20] })
    await touch('touchMove', { 1: [cx + 90, cy - 30] }) // the finger that is left neither moves nor paints
    await touch('touchEnd')
    expect(await box()).toEqual(moved)
    expect(await painted()).toBe(0)
    await touch('touchStart', { 0: [cx, cy] })
    await touch('touchMove', { 0: [cx + 30, cy] })
    await touch('touchEnd')
    expect(await painted()).toBeGreaterThan(0)
    await press(page, 'Undo')
    await becomes(painted, 0)
    expect(await findings(page)).toEqual([])
    await page.context().close()
  })
})
