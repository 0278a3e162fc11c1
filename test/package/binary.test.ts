/** What a binary that travels must and must not hold. */
import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const binary = readFileSync(path.resolve('build', 'Release', 'latent.node'))

test('the binary contains no paths of the build machine', () => {
  for (const folder of [process.cwd(), os.homedir()]) {
    if (folder === path.parse(folder).root) continue
    const at = binary.indexOf(folder)
    expect(
      at < 0
        ? ''
        : binary
            .subarray(at, at + 120)
            .toString('latin1')
            .split('\0')[0],
    ).toBe('')
  }
})

const linux = process.platform === 'linux' ? test : test.skip
linux('overruns are checked for', () => {
  // Both by the compiler (stack protector) and by the C library (_FORTIFY_SOURCE).
  expect(binary.includes('__stack_chk_fail')).toBe(true)
  expect(binary.includes('__memcpy_chk')).toBe(true)
})
