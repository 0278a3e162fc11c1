/** What test/matrix/electron-app.cjs prints of examples/electron when all is well. */
export function expectElectronExample(printed: string): void {
  expect(JSON.parse(printed.trim().split('\n').at(-1)!)).toEqual({
    statuses: { '/': 200, '/page.css': 200, '/page.js': 200, '/main.js': 404, '/../main.js': 404 },
    policies: 3,
    sandboxed: true,
    status: expect.stringMatching(/^Done, seed \d+$/) as string,
    picture: 'image/png',
    signature: '89504e47',
    engines: 1,
    quit: 'closed',
  })
}
