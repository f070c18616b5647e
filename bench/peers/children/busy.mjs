// A neighbour that takes all of a core it can get. Ends with the process that started it.
setInterval(() => {
  if (process.ppid === 1) process.exit();
  const until = performance.now() + 500;
  while (performance.now() < until);
}, 0);
