# Tables, trees, linear models, attacks, the report. `docker build -t unlearning-leakage .`, then
# `docker run --rm -v "$PWD/temp_data:/app/temp_data" unlearning-leakage --exp mem_inf --train_missing`
FROM python:3.11-slim
WORKDIR /app
COPY requirements-core.txt .
RUN pip install --no-cache-dir -r requirements-core.txt
COPY . .
ENTRYPOINT ["python", "main.py"]
